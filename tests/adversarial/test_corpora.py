"""Any text gives a corpus that agrees with an independent count, or one error message."""

import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.adversarial.conftest import QUIET, check_line
from tests.adversarial.judge import Row, documents_of, rows_of, sentences_of, size_of
from uddm_lightning.core.errors import InputError, sanitize_message
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    DocumentPacking,
    Rows,
    TextDataModule,
    TextFiles,
    Tokenizer,
    WordPieceTokenizer,
    WrappedPacking,
)
from uddm_lightning.data.split import TEST, TRAIN, split_documents

# --- texts ----------------------------------------------------------------------------------------------------------

STRANGE = [
    "\x01",  # text with a null character is refused: tests/data/sources/test_encodings.py
    "\u202eright to left",
    "שלום",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "e\u0301",
    "a" + "\u0335" * 9,
    "Å",
    "ﬁ",
    "\ufeff",
    "\u200b",
    "\u00a0",
    "\t",
    "漢字",
    "İ",
    "ß",
    "ΣΑΣ",
    "[SEP]",
    "<unk>",
    "##a",
    "\U0010ffff",
    "\ufffd",
    "%s{0}\\n",
]
ENDS = ["\n", "\n", "\n", "\r\n", "\r", "\x85", "\u2028", "\n\n", "\n \n", "\x0b", "\x1c"]

plain_line = st.text("ab cdet", max_size=24)
any_line = st.lists(
    st.one_of(
        st.sampled_from(STRANGE),
        st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="\0"), max_size=4),
        plain_line,
    ),
    max_size=5,
).map("".join)


def joined(lines: st.SearchStrategy[str], least: int, most: int) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(lines, st.sampled_from(ENDS)), min_size=least, max_size=most).map(
        lambda pairs: "".join(line + end for line, end in pairs)
    )


TEXTS: list[st.SearchStrategy[str]] = [
    joined(any_line, 0, 12),
    joined(any_line, 8, 40),
    joined(plain_line, 8, 60),
    joined(st.text("ab", max_size=6), 8, 60),  # a vocabulary of two, rows shorter than L
    st.tuples(plain_line, st.integers(0, 30)).map(lambda pair: (pair[0] + "\n") * pair[1]),  # duplicates only
    st.tuples(any_line, st.integers(1, 200)).map(lambda pair: pair[0] * pair[1] + "\nab\nba\nabc"),  # one long line
    st.sampled_from(
        ["", "a", "\n", "\r", "\x01", "\ufeff", "👩‍👩‍👧‍👦", " \n\t\n", "a\nb", "\u2028", "a\n" * 100 + "b"]
    ),
]
TOKENIZERS: list[Callable[[], Tokenizer]] = [
    CharacterTokenizer,
    lambda: CharacterTokenizer(lowercase=True),
    lambda: CharacterTokenizer("abcdefghijklmnopqrstuvwxyz ", lowercase=True),
    lambda: CharacterTokenizer("ab"),
    lambda: CharacterTokenizer("a-]^[\\ שß"[:-1]),
    lambda: BPETokenizer(260),
    lambda: BPETokenizer(280, lowercase=True),
    lambda: WordPieceTokenizer(5),
    lambda: WordPieceTokenizer(60),
    lambda: WordPieceTokenizer(200, lowercase=False),
]


class Case(NamedTuple):
    raw: str
    kind: str
    document: str
    tokenizer: int
    wrapped: bool
    length: int
    test_fraction: float
    size: int | float
    draws: int


def cases(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        raw=texts,
        kind=st.sampled_from([".txt", ".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet", ".parquet.gz"]),
        document=st.sampled_from(["line", "line", "paragraph", "file"]),
        tokenizer=st.integers(0, len(TOKENIZERS) - 1),
        wrapped=st.booleans(),
        length=st.one_of(st.integers(2, 6), st.integers(2, 40)),
        test_fraction=st.floats(0.01, 0.99),
        size=st.one_of(st.integers(1, 12), st.floats(0.001, 1.0), st.just(1.0)),
        draws=st.integers(1, 20),
    )


def written(case: Case, folder: Path) -> tuple[Path, list[str]]:
    """Write the file of a case and return it with its documents."""
    path = folder / f"text{case.kind}"
    kind = case.kind.removesuffix(".gz")
    if kind == ".txt":
        documents = documents_of(case.raw, case.document)
        data = case.raw.encode()
    else:  # every line is a record, with any line breaks inside
        records = case.raw.split("\n")
        documents = [text for text in records if text.strip()]
        if kind == ".jsonl":
            data = "\n".join(json.dumps({"text": text}, ensure_ascii=len(text) % 2 == 0) for text in records).encode()
        else:
            sink = pyarrow.BufferOutputStream()
            pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(records, pyarrow.string())}), sink)
            data = sink.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(data) if case.kind.endswith(".gz") else data)
    return path, documents


def made(case: Case, path: Path, folder: Path) -> TextDataModule:
    return TextDataModule(
        TextFiles(str(path), document=case.document),
        TOKENIZERS[case.tokenizer](),
        (WrappedPacking if case.wrapped else DocumentPacking)(case.length),
        train_size=case.size,
        test_fraction=case.test_fraction,
        num_train_rows=case.draws,
        num_test_rows=case.draws,
        num_sample_rows=case.draws,
        eval_batch_size=7,
        cache_dir=str(folder / "cache"),
    )


# --- the expected corpus --------------------------------------------------------------------------------------------


def expected(case: Case, path: Path, documents: list[str]) -> tuple[list[Row], list[Row], Tokenizer] | None:
    """Return the rows of the pool and of the held-out split; None if the text is too short for both."""
    if len(set(documents)) < 2:
        return None
    sides = split_documents(TextFiles(str(path), document=case.document), case.test_fraction).tolist()
    assert len(sides) == len(documents)
    assert len(set(zip(documents, sides, strict=True))) == len(set(documents)), "copies are on one side"
    split = [[text for text, side in zip(documents, sides, strict=True) if side == here] for here in (TRAIN, TEST)]
    assert all(split)
    tokenizer = TOKENIZERS[case.tokenizer]()
    learned = isinstance(tokenizer, CharacterTokenizer) and tokenizer.alphabet is None
    lines = [line for text in split[0] for line in sentences_of(text)]
    try:
        tokenizer.fit(lines)
    except InputError as error:
        if isinstance(tokenizer, WordPieceTokenizer):
            found = re.search(r"`data\.tokenizer\.init_args\.vocab_size` is (\d+), .* need (\d+) ids;", str(error))
            assert found, "every other text has a vocabulary"
            assert int(found[1]) < int(found[2])
        else:
            assert not lines, "only a text without a character has no vocabulary"
        return None
    vocabulary = tokenizer.backend.get_vocab()
    if learned and isinstance(tokenizer, CharacterTokenizer):
        text = "".join(lines)
        signs = {sign for one in text for sign in (one.lower() if tokenizer.lowercase else one)}
        assert sorted(vocabulary, key=vocabulary.get) == [*sorted(signs), "<unk>"]
    if case.length <= 2 * (not isinstance(tokenizer, CharacterTokenizer)):
        return None
    train, test = (rows_of(texts, tokenizer, vocabulary, case.length, case.wrapped) for texts in split)
    seen = set(train)
    test = [row for row in test if row not in seen]
    return (train, test, tokenizer) if train and test else None


def check_rows(rows: Rows, right: list[Row], tokenizer: Tokenizer) -> None:
    assert len(rows) == len(right)
    ids = torch.arange(len(rows))
    tokens, special, valid = rows.tokens(ids), rows.special(ids), rows.valid(ids)
    assert tokens.shape == (len(right), rows.length)
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.vocab_size
    for number, row in enumerate(right):
        here = torch.ones(rows.length, dtype=torch.bool) if valid is None else valid[number]
        assert tokens[number][here].tolist() == list(row.ids)
        assert here.tolist() == [True] * len(row.ids) + [False] * (rows.length - len(row.ids))
        marks = set() if special is None else set(special[number].nonzero().flatten().tolist())
        assert marks == row.special


def check_draws(data: TextDataModule, rows: Rows, which: int, allowed: torch.Tensor) -> None:
    """Check that draws occur once, cover the rows evenly, and hold the tokens of their row."""
    batches = list(data.val_dataloader()[which])
    places = torch.cat([batch.places_B[batch.rows_B >= 0] for batch in batches])
    assert sorted(places.tolist()) == list(range(data.num_train_rows))
    drawn = torch.cat([batch.rows_B[batch.rows_B >= 0] for batch in batches])
    count = Counter(drawn.tolist())
    assert set(count) <= set(allowed.tolist())
    assert len(count) == min(len(allowed), data.num_train_rows)
    assert max(count.values()) - min(count.values()) <= 1
    for batch in batches:
        counted = batch.rows_B >= 0
        assert torch.equal(batch.tokens_BL[counted], rows.tokens(batch.rows_B[counted]))


def check(case: Case) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, documents = written(case, folder)
        right = expected(case, path, documents)
        data = made(case, path, folder)
        try:
            corpus = data.corpus
        except InputError as error:
            message = str(error)
            corpus = None
        event("refused" if corpus is None else "built")
        if corpus is None:
            check_line(message)
            assert re.search(r"`data\.\w+|`paths`|text\.\w+", message), message
            assert right is None, f"{message} But there are {len(right[0])} and {len(right[1])} rows."
            return
        assert right is not None, "there is not enough text for a corpus"
        train, test, tokenizer = right
        assert corpus.tokenizer.to_json() == tokenizer.to_json()
        check_rows(corpus.train, train, tokenizer)
        check_rows(corpus.test, test, tokenizer)
        counts = Counter(one for row in train for one in row.ids)
        assert corpus.unigram.tolist() == [counts[one] for one in range(tokenizer.vocab_size)]

        # again, from the cache and from scratch
        again = made(case, path, folder)
        assert again.corpus.hash == corpus.hash
        assert torch.equal(again.corpus.unigram, corpus.unigram)
        check_rows(again.corpus.test, test, tokenizer)
        assert made(case, path, folder / "other").corpus.hash == corpus.hash

        pool = len(train)
        n = size_of(case.size, pool)
        if not n:
            with pytest.raises(InputError, match=r"`data\.train_size` is .* has only \d+ training rows"):
                _ = data.subset
            return
        rows = data.subset.rows(torch.arange(n))
        assert len(data.subset) == n == len(set(rows.tolist()))
        assert rows.min() >= 0
        assert rows.max() < pool
        larger = made(case._replace(size=1.0), path, folder).subset
        assert torch.equal(larger.rows(torch.arange(pool))[:n], rows), "a smaller subset is the beginning of a larger"
        check_draws(data, corpus.train, 0, rows[: case.draws])
        check_draws(data, corpus.test, 1, torch.arange(len(test)))


SLOW_DRAWING = settings(QUIET, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(case=cases(st.one_of(TEXTS)))
@settings(SLOW_DRAWING, max_examples=20)
def test_any_text_gives_a_correct_corpus_or_one_message(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("kind", range(len(TEXTS)))
def test_every_kind_of_text_gives_a_correct_corpus_or_one_message(kind: int) -> None:
    @given(case=cases(TEXTS[kind]))
    @settings(SLOW_DRAWING, max_examples=30)
    def property_of_kind(case: Case) -> None:
        check(case)

    property_of_kind()


# --- files that are not what their names say ------------------------------------------------------------------------


def not_utf8() -> bytes:
    """Write a Parquet file with invalid UTF-8, which its reader detects on access only."""
    places, letters = b"\0\0\0\0\1\0\0\0\2\0\0\0", b"\xffa"
    text = pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, *map(pyarrow.py_buffer, (places, letters))])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": text}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}\n", r"a\.jsonl`, line 1: not valid JSON \(Exceeds the limit"),
        ("a.jsonl", b'{"text": "' + b"\\ud800" + b'"}\n{"text": "b"}\n', r"`data\.source`: .* an unpaired surrogate"),
        ("a.jsonl", json.dumps({"text": ["x" * 5000]}).encode(), r"line 1, field `text`: \['x+\.\.\.x+'\] is not text"),
        ("a.jsonl", json.dumps({f"k{n:04}": 1 for n in range(2000)}).encode(), r"one of \['k0000', .*, \.\.\.\]"),
        ("a.parquet", not_utf8(), r"a\.parquet` is not a readable Parquet file \('utf-8' codec can't decode"),
    ],
)
def test_an_invalid_file_gives_one_message(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        split_documents(TextFiles(str(tmp_path / name)), 0.5)
    check_line(str(caught.value))


def whole_file(kind: str) -> bytes:
    texts = [f"line {number} of a text" for number in range(200)]
    if kind == ".parquet":
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), sink)
        data: bytes = sink.getvalue().to_pybytes()
        return data
    lines = [json.dumps({"text": text}) for text in texts] if kind.startswith(".jsonl") else texts
    data = "\n".join(lines).encode()
    return gzip.compress(data) if kind.endswith(".gz") else data


@given(
    kind=st.sampled_from([".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet"]),
    place=st.floats(0, 1, exclude_max=True),
    new=st.binary(max_size=6),
    cut=st.booleans(),
)
@settings(QUIET, max_examples=100)
def test_a_damaged_file_gives_text_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: float, new: bytes, cut: bool
) -> None:
    data = whole_file(kind)
    start = int(place * len(data))
    path = tmp_path_factory.getbasetemp() / f"damaged{kind}"
    path.write_bytes(data[:start] + new + (b"" if cut else data[start + len(new) :]))
    try:
        documents = list(TextFiles(str(path)).documents())
    except InputError as error:
        message = sanitize_message(str(error))
    else:
        assert all(isinstance(document.text, str) and document.text.strip() for document in documents)
        return
    check_line(message)
    assert path.name in message


def test_padding_is_not_counted_as_a_token(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\naa\n", encoding="utf-8")
    corpus = TextDataModule(TextFiles(str(path)), CharacterTokenizer(), DocumentPacking(3), test_fraction=0.5).corpus
    assert corpus.meta["test"]["removed"] == 0
    assert len(corpus.test) == 1


# --- size -----------------------------------------------------------------------------------------------------------

CHILD = """
import json, resource, sys, time
import torch
from uddm_lightning import data
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux hands the other figure down from parent to child
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
train, test, cache, tokenizer, packing, document = sys.argv[1:]
start, before = time.monotonic(), peak()
source = data.TextFiles(train, document=document, test_paths=test)
corpus = data.prepare_corpus(source, getattr(data, tokenizer)(), getattr(data, packing)(32), 0.1, cache)
sys.stdout.write(json.dumps({
    "seconds": time.monotonic() - start, "bytes": peak() - before, "rows": len(corpus.train),
    "tokens": int(corpus.unigram.sum()), "meta": corpus.meta["train"]["documents"],
}))
"""


def large(folder: Path, text: str, tokenizer: str, packing: str, document: str = "line") -> dict[str, float]:
    """Build a corpus in a separate process and return its time and memory."""
    (folder / "large.txt").write_text(text, encoding="utf-8")
    (folder / "test.txt").write_text("the end of the story, which is in no other file\n" * 3, encoding="utf-8")
    paths = (str(folder / "large.txt"), str(folder / "test.txt"), str(folder / "cache"))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *paths, tokenizer, packing, document], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured: dict[str, float] = json.loads(done.stdout)
    sys.stdout.write(f"{tokenizer}, {packing}, {len(text) / 1e6:.0f} million characters: {measured}\n")
    return measured


@pytest.mark.slow
def test_one_huge_line(tmp_path: Path) -> None:
    text = "the quick brown fox jumps over the lazy dog " * 70_000
    measured = large(tmp_path, text + "\n", "CharacterTokenizer", "WrappedPacking")
    assert measured["rows"] == len(text) // 32
    assert measured["tokens"] == 32 * measured["rows"]
    assert measured["seconds"] < 60
    assert measured["bytes"] < 2**31


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["BPETokenizer", "WordPieceTokenizer"])
def test_one_huge_word(tmp_path: Path, tokenizer: str) -> None:
    """A word of a million letters; the library's training alone takes quadratic time."""
    text = "ab" * 500_000 + " " + "the quick brown fox " * 100
    measured = large(tmp_path, text + "\n", tokenizer, "WrappedPacking")
    assert measured["tokens"] == 32 * measured["rows"]
    assert measured["seconds"] < 60
    assert measured["bytes"] < 2**31


@pytest.mark.slow
@pytest.mark.parametrize("count", [2 * 10**5, pytest.param(10**6, marks=pytest.mark.bar)])
@pytest.mark.parametrize("packing", ["WrappedPacking", "DocumentPacking"])
def test_many_short_lines(tmp_path: Path, packing: str, count: int) -> None:
    text = "".join(f"{number:x}\n" for number in range(count))
    measured = large(tmp_path, text, "CharacterTokenizer", packing)
    assert measured["meta"] == count
    letters = len(text) - count
    if packing == "DocumentPacking":
        assert measured["rows"] == count
        assert measured["tokens"] == letters
    else:
        assert measured["rows"] == letters // 32  # the alphabet has no space to join them with
    assert measured["seconds"] < 120 * count / 10**6 + 6
    assert measured["bytes"] < 2**30
