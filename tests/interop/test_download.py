"""Names on the hub: the size is told first, offline is respected, and neither code nor pickles are downloaded."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.interop import download as module
from uddm_lightning.interop.download import download, is_hub_name

FILES = {
    "config.json": 500,
    "model.safetensors": 2_000_000,
    "modeling_udlm.py": 9,
    "pytorch_model.bin": 2_000_000,
    "sub/model.safetensors": 7,
    "tokenizer.json": 1000,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """A hub with one model; the list of downloads."""
    downloads: list[dict[str, Any]] = []

    class Hub:
        def model_info(self, name: str, **options: Any) -> Any:
            if name != "owner/name":
                raise OSError("404: there is no such model")
            files = [SimpleNamespace(rfilename=file, size=size) for file, size in FILES.items()]
            return SimpleNamespace(sha=f"commit-of-{options['revision']}", siblings=files)

    def snapshot(name: str, **options: Any) -> str:
        downloads.append(options)
        return str(tmp_path / "abc")

    monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "HfApi", Hub)
    monkeypatch.setattr(module, "snapshot_download", snapshot)
    return downloads


def test_the_size_is_told_before_the_download(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = module.snapshot_download

    def snapshot(name: str, **options: Any) -> str:
        assert capsys.readouterr().err == "owner/name at commit-of-v1: 3 files, 2.0 MB\n"
        return str(real(name, **options))

    monkeypatch.setattr(module, "snapshot_download", snapshot)
    found = download("owner/name", "v1")
    assert found.folder.name == "abc"
    assert found.origin == {"repository": "owner/name", "revision": "commit-of-v1"}
    wanted = ["config.json", "model.safetensors", "tokenizer.json"]
    assert asked == [{"revision": "commit-of-v1", "allow_patterns": wanted}]


def test_a_model_of_pickles_is_not_downloaded(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "model.safetensors")
    with pytest.raises(InputError, match=r"has no safetensors, only pickles, .*; nothing was downloaded\."):
        download("owner/name")
    monkeypatch.delitem(FILES, "pytorch_model.bin")
    with pytest.raises(InputError, match="has no safetensors, no weights"):
        download("owner/name")
    assert asked == []


def test_a_wrong_name_is_one_message(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"`owner/none` at `v1` is no path, and the hub .*404: .*Check the name"):
        download("owner/none", "v1")
    assert asked == []


def test_offline_uses_the_cache_alone(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    assert download("owner/name").origin == {"repository": "owner/name", "revision": "abc"}
    assert asked == [{"revision": None, "local_files_only": True}]

    def missing(name: str, **options: Any) -> str:
        raise FileNotFoundError(name)

    monkeypatch.setattr(module, "snapshot_download", missing)
    with pytest.raises(InputError, match="neither a path nor in the hub's cache, and `HF_HUB_OFFLINE` forbids"):
        download("owner/name")


def test_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("s-sahoo/duo-distilled")
    for other in ("duo", "/s-sahoo/duo", "a/b/c", "../duo", "a/..", "a b/c", "./x.ckpt/"):
        assert not is_hub_name(other), other
    (tmp_path / "s-sahoo" / "duo").mkdir(parents=True)
    assert not is_hub_name("s-sahoo/duo")
