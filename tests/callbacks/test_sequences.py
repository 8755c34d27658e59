"""Restored sequences of a run in sequences.parquet."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.support.tasks import small_task
from uddm_lightning.callbacks import sequences
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.batch_notes import BatchNotes, RestoredRows
from uddm_lightning.training.task import DiffusionTask


def test_the_first_rows_are_kept_with_their_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens_BL = torch.tensor([[0, 1], [1, 2], [2, 0]])
    rows_B, places_B, zeros_B = torch.tensor([7, 8, 9]), torch.arange(3), torch.zeros(3)
    batch = TokenBatch(tokens_BL, rows_B, places_B, zeros_B.long(), zeros_B, None, None, seed=0, step=0)
    notes = BatchNotes(sampler=AncestralSampler(steps=4), batch=batch)
    notes.restored[0.1] = RestoredRows(tokens_BL + 1, tokens_BL)
    notes.restored[0.5] = RestoredRows(tokens_BL[:1], tokens_BL[:1])
    notes.entropy_BL[0.1] = torch.full((3, 2), 0.25)
    task = small_task()
    task.notes = {"ema": notes}
    monkeypatch.setattr(DiffusionTask, "weights_step", 9)
    data = SimpleNamespace(splits=["train"], tokenizer=SimpleNamespace(decode_token=lambda token: "abcd"[token]))
    trainer: Any = SimpleNamespace(is_global_zero=True)
    for name, value in {"data_of": data, "is_dry_run": False, "run_folder": tmp_path, "may_overwrite": True}.items():
        monkeypatch.setattr(sequences, name, lambda trainer, value=value: value)
    table = SequenceTable(rows=2)
    table.on_validation_start(trainer, task)
    table.on_validation_batch_end(trainer, task, None, batch, 0)
    table.on_validation_end(trainer, task)
    found = pq.read_table(tmp_path / "sequences.parquet").to_pylist()
    assert [(row["t"], row["row_id"]) for row in found] == [(0.1, 7), (0.1, 8), (0.5, 7)]
    assert (found[0]["x0_text"], found[0]["xt_text"], found[0]["xhat_text"]) == (["a", "b"], ["b", "c"], ["a", "b"])
    assert found[0]["entropy"] == [0.25, 0.25]
    assert found[2]["entropy"] is None


def test_the_number_of_rows_is_checked() -> None:
    with pytest.raises(InputError, match="`rows` must be at least 0, got -1"):
        SequenceTable(rows=-1)
