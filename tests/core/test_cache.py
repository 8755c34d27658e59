"""The folder of prepared corpora."""

from pathlib import Path

import pytest

from uddm_lightning.core.cache import cache_folder


def test_an_argument_wins_over_the_environment_and_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDDM_CACHE", "/given")
    assert cache_folder("~/here") == Path.home() / "here"
    assert cache_folder() == Path("/given")
    monkeypatch.delenv("UDDM_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "uddm_lightning"
