"""The command `uddm report`."""

from pathlib import Path

import pytest

from uddm_lightning.commands import report as command
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.results import note_earlier_files


def test_a_folder_without_measurements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="measurements"):
        command.report([str(tmp_path)])


def test_the_summary_and_the_page_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "write_results", lambda folder, page_only: [folder, page_only])
    monkeypatch.setattr(command, "summary", lambda found: f"summary of {found}")
    folder = tmp_path / "sweep"
    for options, page_only in ([], False), (["--page-only"], True):
        assert command.report(["sweep", *options]) == 0
        assert capsys.readouterr().out == f"summary of {[folder, page_only]}\n{folder / 'report.html'}\n"


def test_files_of_an_earlier_report_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note_earlier_files(tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "gap.png").touch()
    note_earlier_files(tmp_path)
    assert capsys.readouterr().err.startswith(f"uddm: `figures` in {tmp_path} are of an earlier report; `uddm report`")
    (tmp_path / "summary" / "DiT").mkdir(parents=True)
    note_earlier_files(tmp_path)
    assert "uddm: `figures` and `summary` in" in capsys.readouterr().err
