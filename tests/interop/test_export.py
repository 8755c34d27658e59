"""The export of a run, and its upload."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Outcome
from tests.support.foreign import export
from uddm_lightning.backbones import DiT

Run = Callable[..., Outcome]


def test_other_networks_are_not_exported(uddm: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(DiT):
        pass

    monkeypatch.setattr("uddm_lightning.interop.export.DiT", Other)
    outcome = export(uddm, run, tmp_path / "out")
    assert outcome.status == 2
    assert "`model.backbone` is DiT, and only Other is exported" in outcome.err


class FakeHub:
    """Fake hub that records uploads, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.repositories: dict[str, set[str]] = {}

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> None:
        assert exist_ok
        self.repositories[repo_id] = set()

    def upload_folder(self, *, repo_id: str, folder_path: Path) -> None:
        if self.error:
            raise self.error
        self.repositories[repo_id] = {path.name for path in folder_path.iterdir()}


def test_push_uploads_the_folder(uddm: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()
    monkeypatch.setattr("uddm_lightning.interop.export.HfApi", lambda: hub)
    monkeypatch.setattr("uddm_lightning.interop.export.get_token", lambda: "token")
    outcome = export(uddm, run, tmp_path / "out", "--push", "owner/name")
    assert outcome.status == 0, outcome.err
    assert "https://huggingface.co/owner/name" in outcome.out
    assert hub.repositories == {"owner/name": {path.name for path in (tmp_path / "out").iterdir()}}
    monkeypatch.setattr("uddm_lightning.interop.export.HfApi", lambda: FakeHub(OSError("no network\nat all")))
    outcome = export(uddm, run, tmp_path / "again", "--push", "owner/name")
    assert outcome.status == 2
    assert f"the upload failed (no network). The files are in `{tmp_path / 'again'}`." in outcome.err
