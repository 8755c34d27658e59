from pathlib import Path

import pytest

from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.data import CharacterTokenizer, Corpus, WrappedPacking, prepare_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Return a corpus of about a hundred rows of eight letters."""
    cache = tmp_path_factory.mktemp("corpus")
    source = ListSource(sentences(120))
    return prepare_corpus(source, CharacterTokenizer(LETTERS), WrappedPacking(8), 0.2, str(cache))


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(sentences(120)), encoding="utf-8")
    return path


@pytest.fixture
def own_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a separate cache for the library `datasets`."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
