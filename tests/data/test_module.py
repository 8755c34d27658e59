import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from tests.support.texts import LETTERS
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    DocumentPacking,
    TextDataModule,
    TextFiles,
    WrappedPacking,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # few workers are intended: reading is cheap
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning 2.6 on torch 2.13
]


def module(text_file: Path, **options: Any) -> TextDataModule:
    defaults: dict[str, Any] = {
        "source": TextFiles(str(text_file)),
        "tokenizer": CharacterTokenizer(LETTERS),
        "packing": WrappedPacking(8),
        "train_size": 20,
        "batch_size": 12,
        "eval_batch_size": 10,
        "num_train_rows": 30,
        "num_test_rows": 25,
        "num_sample_rows": 0,
        "num_random_rows": 0,
    }
    return TextDataModule(**{**defaults, **options})


def attached(data: TextDataModule, **options: Any) -> TextDataModule:
    defaults = {
        "global_step": 0,
        "global_rank": 0,
        "world_size": 1,
        "accumulate_grad_batches": 1,
        "val_check_interval": 1.0,
    }
    data.trainer = SimpleNamespace(**{**defaults, **options})
    return data


class Recorder(LightningModule):
    """Module with one parameter that records its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[TokenBatch] = []
        self.measured: list[tuple[int, TokenBatch]] = []

    @override
    def training_step(self, batch: TokenBatch) -> Tensor:
        self.trained.append(batch)
        return self.weight * batch.quantiles_B.float().mean()

    @override
    def validation_step(self, batch: TokenBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.measured.append((dataloader_idx, batch))

    @override
    def test_step(self, batch: TokenBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.measured.append((dataloader_idx, batch))

    @override
    def predict_step(self, batch: TokenBatch) -> Tensor:
        return batch.tokens_BL

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(tmp_path: Path, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=str(tmp_path),
        accelerator="cpu",
        devices=1,
        logger=False,
        max_epochs=-1,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_sizes_are_known_before_training(text_file: Path) -> None:
    data = module(text_file)
    assert (data.vocab_size, data.length, data.subset_size) == (27, 8, 20)
    assert data.tokenizer.decode([0, 26]) == "a "
    assert data.unigram.dtype == torch.float64
    assert data.unigram.sum().item() == pytest.approx(1.0)
    assert (data.unigram > 0).all()


def test_a_run_from_end_to_end(text_file: Path, tmp_path: Path) -> None:
    model, data = Recorder(), module(text_file)
    run = trainer(tmp_path, max_steps=6, val_check_interval=4, accumulate_grad_batches=2, enable_checkpointing=False)
    run.fit(model, data)
    assert [batch.step for batch in model.trained] == [step for step in range(6) for _ in range(2)]
    assert all(len(batch.rows_B) == 6 for batch in model.trained)
    reference = [batch for _, batch in zip(range(6), module(text_file).train_dataloader(), strict=False)]
    for step in range(6):
        rows = torch.stack([batch.rows_B for batch in model.trained[2 * step : 2 * step + 2]], 1).flatten()
        assert torch.equal(rows, reference[step].rows_B)
    assert [split for split, _ in model.measured] == [0, 0, 0, 1, 1, 1] * 3

    path = tmp_path / "middle.ckpt"
    run.save_checkpoint(path)
    resumed = Recorder()
    trainer(tmp_path, max_steps=8, accumulate_grad_batches=2, val_check_interval=1000, enable_checkpointing=False).fit(
        resumed, module(text_file), ckpt_path=str(path), weights_only=True
    )
    assert [batch.step for batch in resumed.trained] == [6, 6, 7, 7]


def test_validation_measures_the_subset_and_the_same_held_out_rows_for_every_size(text_file: Path) -> None:
    test_fraction = set()
    for size, seed in ((20, 0), (7, 0), (7, 1)):
        data = module(text_file, train_size=size, seed=seed)
        train, test = (list(loader) for loader in data.val_dataloader())
        rows = torch.cat([batch.rows_B for batch in train])
        subset = data.subset.rows(torch.arange(size))
        assert torch.equal(rows, subset[torch.arange(30) % size])
        rows = torch.cat([batch.rows_B for batch in test])
        rows = rows[rows >= 0]
        assert len(rows) == 25
        assert len(set(rows.tolist())) == min(25, len(data.corpus.test))
        test_fraction.add(tuple(rows.tolist()))
    assert len(test_fraction) == 1


def test_test_measures_every_held_out_row_once(text_file: Path, tmp_path: Path) -> None:
    model, data = Recorder(), module(text_file)
    trainer(tmp_path).test(model, data, verbose=False)
    rows = torch.cat([batch.rows_B for split, batch in model.measured if split == 1])
    assert sorted(rows[rows >= 0].tolist()) == list(range(len(data.corpus.test)))
    assert sum(split == 0 for split, _ in model.measured) == 3


@pytest.mark.parametrize("packing", [WrappedPacking(8), DocumentPacking(8)])
def test_predicting_reads_lines(text_file: Path, tmp_path: Path, packing: WrappedPacking | DocumentPacking) -> None:
    path = tmp_path / "given.txt"
    path.write_text("peace\n\nthe state of\n", encoding="utf-8")
    data = module(text_file, text=str(path), packing=packing)
    (rows,) = trainer(tmp_path).predict(Recorder(), data)
    (batch,) = data.predict_dataloader()
    assert torch.equal(rows, batch.tokens_BL)
    pairs = zip(batch.tokens_BL, batch.valid_BL, strict=True)
    assert [data.tokenizer.decode(row[valid].tolist()) for row, valid in pairs] == ["peace", "the stat", "e of"]
    assert batch.rows_B.tolist() == [0, 1, 2]
    assert data.text_rows.lines == [1, 3, 3]
    assert batch.special_BL is None


def test_predicting_with_begin_and_end(text_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "given.txt"
    path.write_text("peace [SEP]", encoding="utf-8")
    data = module(text_file, text=str(path), tokenizer=BPETokenizer(260))
    (batch,) = data.predict_dataloader()
    assert data.tokenizer.decode(batch.tokens_BL[0].tolist()) == "[CLS]peace [SEP]"
    assert data.tokenizer.decode(batch.tokens_BL[1][batch.valid_BL[1]].tolist()) == "[CLS][SEP][SEP]"
    assert batch.special_BL[1].nonzero().flatten().tolist() == [0, 6]


def test_text_that_cannot_be_read(text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text to restore; set `--text FILE`"):
        module(text_file).predict_dataloader()
    for name, content, message in (
        ("none.txt", None, r"none\.txt` cannot be read: No such file"),
        ("empty.txt", b"\n \n", r"empty\.txt` contains no text; write one passage per line"),
        ("marks.txt", b"...\n", r"marks\.txt` contains no text"),
        ("latin.txt", b"caf\xe9\n", r"latin\.txt`, line 1: byte 3 of the file is not UTF-8"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            module(text_file, text=str(tmp_path / name)).predict_dataloader()


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 1), (2, 1), (3, 2)])
def test_ranks_share_the_global_batch(text_file: Path, world_size: int, accumulation: int) -> None:
    places: list[int] = []
    shapes = set()
    for rank in range(world_size):
        data = attached(
            module(text_file),
            global_rank=rank,
            world_size=world_size,
            accumulate_grad_batches=accumulation,
            global_step=7,
        )
        for _, batch in zip(range(accumulation), data.train_dataloader(), strict=False):
            assert batch.step == 7
            places += batch.places_B.tolist()
        shapes.add(tuple(tuple(batch.tokens_BL.shape for batch in loader) for loader in data.val_dataloader()))
    assert sorted(places) == list(range(12))
    assert len(shapes) == 1


def test_lightning_does_not_distribute_eval_batches_again(text_file: Path) -> None:
    from torch.utils.data import DistributedSampler

    for loader in module(text_file).val_dataloader():
        assert isinstance(loader.sampler, DistributedSampler)
        assert len(loader) == len(list(loader)) == 3


def test_workers_change_nothing(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    few, many = module(text_file), module(text_file, num_workers=2)
    for one, two in zip(few.val_dataloader(), many.val_dataloader(), strict=True):
        assert all(torch.equal(a.keys_B, b.keys_B) for a, b in zip(one, two, strict=True))
        assert two.persistent_workers
    os.environ.pop("TOKENIZERS_PARALLELISM", None)


@pytest.mark.parametrize(
    ("trainer_options", "message"),
    [
        ({"world_size": 5}, r"`data\.batch_size` is 12, .* 5 process\(es\) x 1 .*; choose a multiple of 5"),
        ({"world_size": 2, "accumulate_grad_batches": 4}, r"choose a multiple of 8"),
        (
            {"val_check_interval": 3, "accumulate_grad_batches": 2},
            r"`trainer\.val_check_interval` is 3 micro-batches.*choose a multiple of 2",
        ),
    ],
)
def test_invalid_trainer_settings(text_file: Path, trainer_options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attached(module(text_file), **trainer_options).train_dataloader()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 0}, r"`data\.batch_size` must be at least 1, got 0"),
        ({"eval_batch_size": 0}, r"`data\.eval_batch_size` must be at least 1"),
        ({"num_train_rows": 0}, r"`data\.num_train_rows` must be at least 1"),
        ({"num_test_rows": -1}, r"`data\.num_test_rows` must be at least 1, got -1"),
        ({"seed": -1}, r"`data\.seed` must be at least 0, got -1"),
        ({"num_workers": -1}, r"`data\.num_workers` must be at least 0"),
        ({"test_fraction": 0.0}, r"`data\.test_fraction` must be in \(0, 1\), got 0\.0"),
        ({"test_fraction": 1.0}, r"`data\.test_fraction` must be in \(0, 1\)"),
        ({"train_size": 0}, r"`data\.train_size` is 0"),
        ({"train_size": 2.0}, r"`data\.train_size` is 2\.0"),
    ],
)
def test_numbers_out_of_range(text_file: Path, option: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        module(text_file, **option)


def test_a_subset_larger_than_the_pool(text_file: Path) -> None:
    data = module(text_file, train_size=100000)
    with pytest.raises(InputError, match=r"`data\.train_size` is 100000 but the corpus has only \d+ training rows"):
        data.train_dataloader()


def test_manifests_of_different_runs_differ(text_file: Path) -> None:
    manifest = module(text_file).manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert module(text_file).manifest() == manifest
    assert manifest["train_size"] == 20
    assert manifest["splits"]["train"]["rows"] == len(module(text_file).corpus.train)
    assert manifest["source"]["init_args"]["paths"] == str(text_file)
    assert {"uddm_lightning", "torch", "lightning", "tokenizers", "datasets", "python"} == set(manifest["versions"])
    for option, changed in (
        ({"train_size": 21}, {"subset"}),
        ({"seed": 1}, {"subset"}),
        ({"packing": WrappedPacking(9)}, {"corpus", "subset"}),
        ({"tokenizer": CharacterTokenizer(LETTERS[::-1])}, {"corpus", "subset", "tokenizer"}),
    ):
        other = module(text_file, **option).manifest()
        assert {name for name in ("corpus", "subset", "tokenizer") if other[name] != manifest[name]} == changed
