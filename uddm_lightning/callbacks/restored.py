"""The rows that `predict` restores."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor
from typing_extensions import override

from uddm_lightning.callbacks.figures import sequence_panel
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.console import say
from uddm_lightning.core.files import write_text
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of


class RestoredText(BasePredictionWriter):
    """Prints each restored row under the given one and writes all of them to restored.jsonl in the output folder."""

    def __init__(self) -> None:
        super().__init__("batch")
        self.rows: list[dict[str, Any]] = []

    @override
    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: TokenBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        assert isinstance(pl_module, DiffusionTask)
        tokenizer, numbers = data_of(trainer).tokenizer, data_of(trainer).text_rows.lines
        for index in range(len(prediction)):
            if int(batch.rows_B[index]) < 0:
                continue
            valid_L = slice(None) if batch.valid_BL is None else batch.valid_BL[index]
            given, restored = batch.tokens_BL[index][valid_L].tolist(), prediction[index][valid_L].tolist()
            self.rows.append(
                {
                    "line": numbers[int(batch.rows_B[index])],
                    "given": tokenizer.decode(given),
                    "restored": tokenizer.decode(restored),
                    "t": pl_module.predict_t,
                    "sampler": pl_module.sampler.name,
                }
            )
            pieces = [[tokenizer.decode_token(token) for token in ids] for ids in (given, restored)]
            lines = sequence_panel(pieces[0], pieces[0], pieces[1]).split("\n")
            if trainer.is_global_zero:
                say("\n".join(["given     " + lines[0][10:], lines[2], lines[3].replace("!", "^").rstrip()]))

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = Path(os.path.abspath(trainer.default_root_dir)) / f"restored{rank}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        write_text(path, text)
        if trainer.is_global_zero:
            say(f"written to {path}")
