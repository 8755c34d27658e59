"""Rows of tokens in files."""

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.texts import everything, made, sentences
from uddm_lightning.data import BPETokenizer, CharacterTokenizer, Corpus, DocumentPacking, Rows, WrappedPacking
from uddm_lightning.data import rows as rows_module
from uddm_lightning.data.packing.base import PackedRows
from uddm_lightning.data.rows import write_rows


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


def test_documents_of_one_row_are_not_stored_and_do_not_change_the_hash() -> None:
    short, long = made(sentences(40), packing=DocumentPacking(24)), made(sentences(40), packing=WrappedPacking(90))
    for corpus in (short, long):
        assert corpus.meta["train"]["document_ids"] is corpus.meta["test"]["document_ids"] is False
        assert corpus.train.documents(torch.tensor([0])) is None
    joined = made([("\n".join(sentences(40)), "train"), ("abc" * 9, "test")])
    apart = made([*((one, "train") for one in sentences(40)), ("abc" * 9, "test")])
    assert joined.train.documents(torch.tensor([3])) is not None
    assert joined.hash == apart.hash, "which rows are drawn depends on the rows alone"


def test_special_positions_and_padding_round_trip() -> None:
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


def test_rows_are_pickled_without_their_memory_map(corpus: Corpus) -> None:
    ids = torch.tensor([5, 2])
    expected = corpus.train.tokens(ids)
    data = pickle.dumps(corpus.train)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data).tokens(ids), expected)  # noqa: S301 our own bytes


def test_rows_are_equal_after_their_pages_are_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.randint(0, 100, (5000, 4), generator=torch.Generator().manual_seed(0))
    block = PackedRows(tokens.numpy(), (tokens > 50).numpy(), tokens[:, 0].numpy() % 5)
    monkeypatch.setattr(rows_module, "MAX_RESIDENT", 1000)
    rows = Rows(tmp_path, "train", write_rows(tmp_path, "train", [block], 4, 100).meta)
    for _ in range(3):
        ids = torch.randint(0, 5000, (700,))
        special, valid = rows.special(ids), rows.valid(ids)
        assert torch.equal(rows.tokens(ids), tokens[ids])
        assert special is not None
        assert torch.equal(special, tokens[ids] > 50)
        assert valid is not None
        assert torch.equal(valid.sum(1), (tokens[ids, 0] % 5).clamp(max=4))
    whole = next(rows.chunks())
    assert np.array_equal(whole.tokens_NL, tokens[:4096])
