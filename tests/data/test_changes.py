"""Text and vocabularies that change while they are read are refused, and nothing is saved."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from tests.support.files import write_texts
from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Corpus,
    Detokenized,
    Document,
    DocumentPacking,
    HubDataset,
    LM1BDetokenizer,
    PretrainedTokenizer,
    Source,
    TextFiles,
    Tokenizer,
    WrappedPacking,
    prepare_corpus,
)
from uddm_lightning.data import text_rows as lines_module
from uddm_lightning.data.text_rows import TextRows

pytestmark = pytest.mark.usefixtures("own_datasets")


class Disturbed(Source):
    """Source that calls a function during one of its readings."""

    def __init__(self, source: Source, at: int, what: Callable[[], object]) -> None:
        self._source = source
        self._at = at
        self._what = what
        self._readings = 0

    @override
    def documents(self) -> Iterator[Document]:
        self._readings += 1
        for number, document in enumerate(self._source.documents()):
            if number == 0 and self._readings == self._at:
                self._what()
            yield document

    @override
    def fingerprint(self) -> str:
        return self._source.fingerprint()


def prepared(source: Source, cache: Path, tokenizer: Tokenizer | None = None) -> Corpus:
    return prepare_corpus(source, tokenizer or CharacterTokenizer(), WrappedPacking(8), 0.3, str(cache))


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


SOURCES: dict[str, tuple[str, Callable[[str], Source]]] = {
    "text": ("a.txt", TextFiles),
    "pattern": ("a.txt", lambda path: TextFiles(str(Path(path).parent / "*.txt"))),
    "json lines": ("a.jsonl", TextFiles),
    "parquet": ("a.parquet", TextFiles),
    "detokenized": ("a.txt", lambda path: Detokenized(TextFiles(path), LM1BDetokenizer())),
    "datasets, text": ("a.txt", lambda path: HubDataset("text", data_files=path)),
    "datasets, json": ("a.jsonl", lambda path: HubDataset("json", data_files=path)),
    "datasets, csv": ("a.csv", lambda path: HubDataset("csv", data_files=path)),
    "datasets, parquet": ("a.parquet", lambda path: HubDataset("parquet", data_files={"train": [path]})),
    "datasets, folder": ("a.parquet", lambda path: HubDataset(str(Path(path).parent))),
}

# A text is read four times: for splits, vocabulary, held-out rows and training rows. `datasets` takes half a second.
MOMENTS = [(kind, at) for kind in SOURCES for at in ((1, 4) if "datasets" in kind else (1, 2, 3, 4))]


@pytest.mark.parametrize("how", ["longer", "other", "shorter"])
@pytest.mark.parametrize(("kind", "at"), MOMENTS)
def test_text_that_changes_while_it_is_prepared_is_refused(tmp_path: Path, kind: str, how: str, at: int) -> None:
    (tmp_path / "text").mkdir()
    name, make = SOURCES[kind]
    texts = sentences(40)
    path = write_texts(tmp_path / "text" / name, texts)
    others = {
        "longer": [*texts, "more of it"],
        "other": [text.replace("a", "e") for text in texts],
        "shorter": texts[:9],
    }
    source = Disturbed(make(str(path)), at, lambda: write_texts(path, others[how]))
    with pytest.raises(InputError, match=r"changed while it was read; nothing was saved"):
        prepared(source, tmp_path / "cache")
    assert not kept(tmp_path / "cache")
    corpus = prepared(make(str(path)), tmp_path / "cache")
    fresh = ListSource(others[how]) if kind != "detokenized" else None
    if fresh is not None:
        assert corpus.hash == prepared(fresh, tmp_path / "other").hash


@pytest.mark.parametrize(("kind", "at"), MOMENTS)
def test_a_file_that_is_removed_while_it_is_prepared_is_an_error(tmp_path: Path, kind: str, at: int) -> None:
    (tmp_path / "text").mkdir()
    name, make = SOURCES[kind]
    path = write_texts(tmp_path / "text" / name, sentences(40))
    if kind == "pattern":  # another file remains
        write_texts(tmp_path / "text" / "b.txt", sentences(30, seed=1))
    with pytest.raises(InputError):
        prepared(Disturbed(make(str(path)), at, lambda: path.unlink(missing_ok=True)), tmp_path / "cache")
    assert not kept(tmp_path / "cache")


@pytest.mark.parametrize("kind", SOURCES)
def test_other_content_with_the_same_time_and_size_is_detected(tmp_path: Path, kind: str) -> None:
    (tmp_path / "text").mkdir()
    name, make = SOURCES[kind]
    path = write_texts(tmp_path / "text" / name, ["one word", "two words"])
    source = make(str(path))
    before = source.fingerprint()
    assert [one.text for one in source.documents()] == ["one word", "two words"]
    write_texts(path, ["two word", "one words"])
    assert [one.text for one in source.documents()] == ["two word", "one words"]
    assert source.fingerprint() != before
    write_texts(path, ["one word", "two words"])
    os.utime(path)
    assert source.fingerprint() == before, "the content counts, not the time"


@pytest.mark.parametrize("gone", [False, True])
def test_a_tokenizer_file_that_changes(tmp_path: Path, gone: bool) -> None:
    made = BPETokenizer(300)
    made.fit(sentences(40))
    path = tmp_path / "tokenizer.json"
    path.write_text(made.to_json(), encoding="utf-8")
    tokenizer = PretrainedTokenizer(str(path))

    def change() -> None:
        path.unlink() if gone else path.write_text(made.to_json() + " ", encoding="utf-8")

    with pytest.raises(InputError, match=r"Tokenizer file `.*tokenizer\.json` changed while it was read"):
        prepared(Disturbed(ListSource(sentences(40)), 2, change), tmp_path / "cache", tokenizer)
    assert not kept(tmp_path / "cache")


def test_a_text_to_restore_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_texts(tmp_path / "given.txt", ["one", "two"])
    read = lines_module.read_lines

    def disturbed(given: Path) -> Iterator[str]:
        yield from read(given)
        write_texts(path, ["two", "one"])

    monkeypatch.setattr(lines_module, "read_lines", disturbed)
    with pytest.raises(InputError, match=r"given\.txt` changed while it was read"):
        TextRows.from_file(str(path), CharacterTokenizer(LETTERS), DocumentPacking(8))
    path.unlink()
    with pytest.raises(InputError, match=r"given\.txt` cannot be read: No such file"):
        TextRows.from_file(str(path), CharacterTokenizer(LETTERS), DocumentPacking(8))


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.txt", ["one"])
    (tmp_path / "b.txt").symlink_to(tmp_path / "away.txt")
    with pytest.raises(InputError, match=r"`paths`: `.*b\.txt` is a broken link or was just removed"):
        TextFiles(str(tmp_path / "*.txt")).fingerprint()


# Splits that share records.
