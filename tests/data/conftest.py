from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from uddm_lightning.data import CharacterTokenizer, Corpus, WrappedPacking, prepare

from .toys import LETTERS, ListSource, sentences


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_cache_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A hundred and some rows of eight letters."""
    cache = tmp_path_factory.mktemp("corpus")
    source = ListSource(sentences(120))
    return prepare(source, CharacterTokenizer(LETTERS), WrappedPacking(8), 0.2, str(cache))


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(sentences(120)), encoding="utf-8")
    return path
