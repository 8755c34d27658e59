"""Rows that `predict` restores."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.tasks import small_task
from uddm_lightning.callbacks import restored
from uddm_lightning.callbacks.restored import RestoredText
from uddm_lightning.core.batch import TokenBatch


def test_rows_are_printed_and_written_without_padding_and_fillers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = SimpleNamespace(
        decode=lambda ids: "".join("abcde"[token] for token in ids), decode_token=lambda token: "abcde"[token]
    )
    data = SimpleNamespace(tokenizer=tokenizer, text_rows=SimpleNamespace(lines=[4, 6]))
    monkeypatch.setattr(restored, "data_of", lambda trainer: data)
    trainer: Any = SimpleNamespace(is_global_zero=True, world_size=1, global_rank=0, default_root_dir=str(tmp_path))
    given_BL, valid_BL = torch.tensor([[0, 1, 2], [3, 4, 0], [0, 0, 0]]), torch.ones(3, 3, dtype=torch.bool)
    valid_BL[1, 2] = False
    rows_B, zeros_B = torch.tensor([0, 1, -1]), torch.zeros(3)
    batch = TokenBatch(given_BL, rows_B, rows_B, zeros_B.long(), zeros_B, valid_BL, None, seed=0, step=0)
    writer, task = RestoredText(), small_task()
    writer.write_on_batch_end(trainer, task, (given_BL + 1) % 5, None, batch, 0, 0)
    writer.on_predict_end(trainer, task)
    rows = [json.loads(line) for line in (tmp_path / "restored.jsonl").read_text().splitlines()]
    assert [(row["line"], row["given"], row["restored"]) for row in rows] == [(4, "abc", "bcd"), (6, "de", "ea")]
    assert rows[0]["t"] == task.predict_t
    printed = capsys.readouterr().out
    assert "given     abc" in printed
    assert "restored  bcd" in printed
    assert printed.endswith("restored.jsonl\n")
