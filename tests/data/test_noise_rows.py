"""Rows of uniform random tokens, the initial states of samples."""

from pathlib import Path
from typing import Any

import pytest
import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, TextDataModule, TextFiles, WordPieceTokenizer, WrappedPacking

LINES = "\n".join(f"we hold these truths to be self evident number {'abcdefghij'[k % 10] * (k % 7)}" for k in range(80))


def module(tmp_path: Path, **options: Any) -> TextDataModule:
    path = tmp_path / "text.txt"
    path.write_text(LINES, encoding="utf-8")
    defaults: dict[str, Any] = {
        "source": TextFiles(str(path)),
        "tokenizer": CharacterTokenizer(),
        "packing": WrappedPacking(16),
        "eval_batch_size": 10,
        "num_sample_rows": 25,
        "cache_dir": str(tmp_path / "cache"),
    }
    return TextDataModule(**{**defaults, **options})


def drawn(data: TextDataModule, split: str = "samples") -> torch.Tensor:
    batches = list(data.val_dataloader()[data.splits.index(split)])
    rows, tokens = torch.cat([b.rows_B for b in batches]), torch.cat([b.tokens_BL for b in batches])
    assert rows[rows >= 0].tolist() == list(range(25))
    return tokens[rows >= 0]


def test_noise_depends_on_seed_and_number_alone(tmp_path):
    first = drawn(module(tmp_path))
    assert torch.equal(first, drawn(module(tmp_path, eval_batch_size=7, train_size=3)))
    assert not torch.equal(first, drawn(module(tmp_path, seed=1)))
    assert len(torch.unique(first, dim=0)) == 25


def test_ids_are_uniform(tmp_path):
    data = module(tmp_path, num_sample_rows=4000, eval_batch_size=4000)
    (batch,) = data.val_dataloader()[2]
    counts = torch.bincount(batch.tokens_BL.flatten(), minlength=data.vocab_size).double()
    expected = batch.tokens_BL.numel() / data.vocab_size
    assert float(((counts - expected) ** 2 / expected).sum()) < 2 * data.vocab_size  # chi-square, V - 1 degrees


def test_special_positions_of_noise_rows(tmp_path):
    data = module(tmp_path, tokenizer=WordPieceTokenizer(vocab_size=60))
    batch = next(iter(data.val_dataloader()[2]))
    assert batch.special_BL is not None
    assert batch.special_BL.sum(1).unique().tolist() == [2]
    assert bool(batch.special_BL[:, [0, -1]].all())
    assert next(iter(module(tmp_path).val_dataloader()[2])).special_BL is None
    assert batch.valid_BL is None


def test_splits_without_rows_are_left_out(tmp_path):
    assert module(tmp_path, num_sample_rows=0, num_random_rows=0).splits == ("train", "test")
    assert len(module(tmp_path, num_sample_rows=0, num_random_rows=0).val_dataloader()) == 2
    assert len(module(tmp_path).test_dataloader()) == 4
    with pytest.raises(InputError, match=r"`data\.num_sample_rows` must be at least 0, got -1"):
        module(tmp_path, num_sample_rows=-1)


def test_random_rows_differ_from_sample_rows(tmp_path):
    """Random rows have the distribution of sample rows and are independent of them."""
    data = module(tmp_path, num_random_rows=25)
    assert data.splits == ("train", "test", "samples", "random")
    random, samples = drawn(data, "random"), drawn(data)
    assert float((random == samples).double().mean()) < 3 / data.vocab_size
    assert torch.equal(random, drawn(module(tmp_path, num_random_rows=25, num_sample_rows=0, train_size=3), "random"))
    with pytest.raises(InputError, match=r"^`data\.num_random_rows` must be at least 0, got -1\.$"):
        module(tmp_path, num_random_rows=-1)
