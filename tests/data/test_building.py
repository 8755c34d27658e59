"""Build a corpus from documents."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.texts import ListSource, everything, made, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, DocumentPacking, WrappedPacking
from uddm_lightning.data import building as building_module
from uddm_lightning.data.split import TEST, TRAIN, split_documents


def test_rows_contain_the_text_of_their_split() -> None:
    texts = sentences(60)
    corpus = made(texts)
    sides = split_documents(ListSource(texts), 0.2)
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


def test_truncated_documents_are_counted() -> None:
    texts = [("abcdef", "train"), ("ab", "train"), ("ghijklm", "test")]
    meta = made(texts, packing=DocumentPacking(4)).meta
    assert [meta[split]["truncated_documents"] for split in ("train", "test")] == [1, 1]
    assert [meta[split]["truncated_tokens"] for split in ("train", "test")] == [2, 3]


def test_many_small_batches_give_the_same_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = sentences(60)
    before = made(texts, CharacterTokenizer()).hash
    monkeypatch.setattr(building_module, "BATCH_CHARACTERS", 7)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "other"))
    assert made(texts, CharacterTokenizer()).hash == before


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            [("ab", "train"), ("cdefghijkl", "test")],
            "The training text is too short for a row of 8 tok",
        ),
        ([("abcdefghij", "train"), ("c", "test")], r"The held-out text is too short .*`data\.packing\.length`"),
        ([("abcdefgh", "train"), ("abcdefgh", "test")], "All 1 held-out rows also occur in the training text"),
    ],
)
def test_splits_without_rows_are_refused(
    texts: list[str | tuple[str, str | None]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        made(texts)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}, "nothing half-made is left"
