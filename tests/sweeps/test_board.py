"""Links by which TensorBoard shows the runs of a sweep in the order of their sizes."""

from pathlib import Path

from uddm_lightning.sweeps.board import BOARD, board_folder, link
from uddm_lightning.sweeps.sweep_run import SweepRun


def test_names_sort_and_lead_to_the_runs(tmp_path: Path) -> None:
    assert board_folder(tmp_path) == tmp_path
    for size in (8, 128, 32):
        link(tmp_path / BOARD / f"DiT-n{size:05d}-s0", tmp_path / "runs" / f"DiT-n{size}-s0")
    links = sorted(board_folder(tmp_path).iterdir())
    assert [path.name for path in links] == ["DiT-n00008-s0", "DiT-n00032-s0", "DiT-n00128-s0"]
    assert not links[0].exists(), "the run has not begun"
    (tmp_path / "runs" / "DiT-n8-s0").mkdir(parents=True)
    (tmp_path / "runs" / "DiT-n8-s0" / "events").touch()
    assert (links[0] / "events").exists()
    assert not links[0].readlink().is_absolute(), "the folder may be moved"
    link(links[0], tmp_path / "runs" / "DiT-n8-s0")  # again


def test_a_file_system_without_links_gets_none(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link(tmp_path / BOARD / "DiT-n8-s0", tmp_path / "runs" / "DiT-n8-s0")
    assert board_folder(tmp_path) == tmp_path


def test_the_progress_of_a_run_counts_its_last_measurement(tmp_path: Path) -> None:
    run = SweepRun("DiT", 8, 0, tmp_path, ("fit",), steps=100)
    assert run.progress() == 0.0
    run.heartbeat.parent.mkdir()
    found = []
    for text in ("50 1.0 0.000", "50 1.0 0.900", "100 2.0 0.000", "100 2.0 0.500", "100 2.0 1.000", "100"):
        run.heartbeat.write_text(f"{text}\n", encoding="utf-8")
        found.append((run.progress(), run.is_measuring()))
    assert found == [(0.25, False), (0.25, True), (0.5, False), (0.75, True), (1.0, True), (0.0, False)]
    oracle = SweepRun("Markov", 8, 0, tmp_path, ("validate",), steps=100)
    oracle.heartbeat.write_text("0 0.0 0.400\n", encoding="utf-8")
    assert oracle.progress() == 0.4
