"""All readers and tokenizers use one definition of a line."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.texts import LETTERS, ListSource
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Detokenizer,
    DocumentPacking,
    HubDataset,
    LM1BDetokenizer,
    Packing,
    PretrainedTokenizer,
    TextDataModule,
    TextFiles,
    Tokenizer,
    WikiTextDetokenizer,
    WordPieceTokenizer,
    WrappedPacking,
)
from uddm_lightning.data.newlines import normalize_newlines, split_lines
from uddm_lightning.data.sources import reading
from uddm_lightning.data.text_rows import TextRows

INSIDE = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # where `str.splitlines` would split
ENDS = ["\n", "\r\n", "\r"]
TEXT = st.text(st.sampled_from("ab .,\t" + INSIDE + "é漢😀"), max_size=12)
PAIRS = st.lists(st.tuples(TEXT, st.sampled_from(ENDS)), max_size=8)


def lines_of(text: str) -> list[str]:
    """Return the lines as Python's text files read them."""
    return [line.removesuffix("\n") for line in io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline=None)]


@given(PAIRS, TEXT)
@settings(max_examples=100, deadline=None)
def test_lines_are_those_of_python_s_text_files(pairs: list[tuple[str, str]], rest: str) -> None:
    text = "".join(line + end for line, end in pairs) + rest
    assert split_lines(text) == lines_of(text)
    assert "\r" not in normalize_newlines(text)
    assert split_lines(normalize_newlines(text)) == split_lines(text)


@given(PAIRS, TEXT, st.integers(1, 9))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_is_read_as_these_lines(tmp_path: Path, pairs: list[tuple[str, str]], rest: str, piece: int) -> None:
    text = "".join(line + end for line, end in pairs) + rest
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK_BYTES", piece)
        assert list(reading.read_lines(tmp_path / "a.txt")) == list(reading.read_lines(tmp_path / "a.txt.gz"))
        assert list(reading.read_lines(tmp_path / "a.txt")) == lines_of(text)


@pytest.mark.parametrize("document", ["line", "paragraph", "file"])
def test_every_kind_of_file_has_the_same_sentences(tmp_path: Path, document: str) -> None:
    for end in ENDS:
        lines = [f"one{sign}two" for sign in INSIDE]
        text = end.join(lines)
        (tmp_path / "a.txt").write_bytes(text.encode())
        (tmp_path / "b.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
        pyarrow.parquet.write_table(pyarrow.table({"text": [text]}), tmp_path / "c.parquet")
        sources = [
            TextFiles(str(tmp_path / "a.txt"), document=document),  # type: ignore[arg-type]  # of a parametrized test
            TextFiles(str(tmp_path / "b.jsonl")),
            TextFiles(str(tmp_path / "c.parquet")),
        ]
        for source in sources:
            found = [line for one in source.documents() for line in WrappedPacking(8).sentences(one.text)]
            assert found == lines


def test_datasets_reads_a_text_file_as_the_same_lines(tmp_path: Path) -> None:
    text = "".join(f"one{sign}two{end}" for sign in INSIDE for end in ENDS)
    (tmp_path / "a.txt").write_bytes(text.encode())
    found = [one.text for one in HubDataset("text", data_files=str(tmp_path / "a.txt")).documents()]
    assert found == split_lines(text)


def test_a_file_with_carriage_returns_alone_is_read_as_lines(tmp_path: Path) -> None:
    (tmp_path / "mac.txt").write_bytes(b"one\rtwo\rthree\r")
    assert [one.text for one in TextFiles(str(tmp_path / "mac.txt")).documents()] == ["one", "two", "three"]


@pytest.mark.parametrize("kind", [LM1BDetokenizer, WikiTextDetokenizer])
def test_a_detokenizer_sees_the_same_lines(kind: type[Detokenizer]) -> None:
    lines = ["It is late .", "Is it ?", "a \u2028 b ."]
    detokenizer = kind()
    for end in ENDS:
        assert detokenizer(end.join(lines)) == end.join(map(detokenizer, lines))


TOKENIZERS = {
    "letters": lambda path: CharacterTokenizer(LETTERS, lowercase=True),
    "no space": lambda path: CharacterTokenizer("abc"),
    "characters": lambda path: CharacterTokenizer(),
    "bpe": lambda path: BPETokenizer(280),
    "wordpiece": lambda path: WordPieceTokenizer(200),
    "file": lambda path: PretrainedTokenizer(str(path)),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = BPETokenizer(300)
    made.fit(["the state of the union\u2028is strong"] * 3)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(made.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "packing",
    [DocumentPacking(40), WrappedPacking(40), WrappedPacking(40, "document")],
    ids=["document", "wrapped", "wrapped-by-document"],
)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_predict_gives_the_ids_of_training(tmp_path: Path, file: Path, name: str, packing: Packing) -> None:
    tokenizer: Tokenizer = TOKENIZERS[name](file)
    tokenizer.fit(["ab, cab!", "é漢😀" + INSIDE])
    packing = DocumentPacking(packing.length) if isinstance(packing, DocumentPacking) else packing

    @given(st.lists(TEXT, min_size=1, max_size=6), st.sampled_from(ENDS))
    @settings(max_examples=60, deadline=None)
    def property_of_lines(lines: list[str], end: str) -> None:
        (tmp_path / "a.txt").write_bytes(end.join(lines).encode())
        source = TextFiles(str(tmp_path / "a.txt"))
        if not any(line.strip() for line in lines):
            return
        trained = [
            ids
            for one in source.documents()
            if (ids := [number for ids in tokenizer.encode(packing.sentences(one.text)) for number in ids])
        ]
        if not trained:
            return
        rows = TextRows.from_file(str(tmp_path / "a.txt"), tokenizer, packing)
        restored: dict[int, list[int]] = {}
        every = torch.arange(len(rows))
        special = rows.special(every)
        for number, row, valid, put in zip(
            rows.lines,
            rows.tokens(every),
            rows.valid(every),  # type: ignore[arg-type]  # of a parametrized test
            torch.zeros(len(rows), packing.length, dtype=torch.bool) if special is None else special,
            strict=True,
        ):
            restored.setdefault(number, []).extend(row[valid & ~put].tolist())
        assert list(restored.values()) == trained

    property_of_lines()


def test_predict_and_a_corpus_agree(tmp_path: Path) -> None:
    lines = [f"one{sign}two {number}" for number, sign in enumerate(INSIDE * 3)]
    (tmp_path / "a.txt").write_bytes("\r\n".join(lines).encode())
    data = TextDataModule(
        TextFiles(str(tmp_path / "a.txt")), CharacterTokenizer(), DocumentPacking(20), text=str(tmp_path / "a.txt")
    )
    rows = data.text_rows
    texts = {tuple(row) for row in rows.tokens(torch.arange(len(rows))).tolist()}
    for side in (data.corpus.train, data.corpus.test):
        assert {tuple(row) for row in side.tokens(torch.arange(len(side))).tolist()} <= texts
    assert len(data.corpus.train) + len(data.corpus.test) + data.corpus.meta["test"]["removed"] == len(lines)
    assert np.array_equal(rows.lines, range(1, len(lines) + 1))


def test_no_tokenizer_splits_a_line() -> None:
    text = f"a{INSIDE}b"
    for packing in (WrappedPacking(8), DocumentPacking(8)):
        assert packing.sentences(text) == [text]
    assert len(list(ListSource([text]).documents())) == 1
