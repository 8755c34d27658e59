"""A few restored sequences of a run, in sequences.parquet."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.callbacks.measurements import may_overwrite, run_folder
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.data import Tokenizer
from uddm_lightning.probes.base import Board
from uddm_lightning.results.tables import SEQUENCES, Record, update_rows
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of, is_dry_run

KEY = ("step", "weights", "split", "t", "sampler", "sampler_steps")


class SequenceTable(Callback):
    """Keeps the first restored sequences of every validation, for pictures and bootstraps.

    Stands after the probes among the callbacks and reads what they left of each batch. With several processes, the
    sequences are those of the first.

    Args:
        rows: sequences to keep for each split, t and kind of weights.
    """

    def __init__(self, rows: int = 128) -> None:
        if rows < 0:
            raise ValueError(f"`rows` must be at least 0, got {rows}.")
        self.rows = rows
        self.sequences: list[Record] = []
        self._pieces: dict[int, str] = {}

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.sequences = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: TokenBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, DiffusionTask)
        data = data_of(trainer)
        split = data.splits[dataloader_idx]
        for weights, board in outputs.items():
            common = {"split": split, "step": pl_module.weights_step, "weights": weights}
            for note in board:
                if isinstance(note, tuple) and note[0] == "restored":
                    rows = self._rows(board, note[1])
                    self.sequences += [
                        {**common, **row, **self._texts(row, data_of(trainer).tokenizer)} for row in rows
                    ]

    def _rows(self, board: Board, t: float) -> list[Record]:
        kept = int((board["places"] < self.rows).sum())  # places ascend, so these are the first
        kept = min(kept, len(board["restored", t]))
        columns = {
            "row_id": board["rows"][:kept].tolist(),
            "x0": board["x0"][:kept].tolist(),
            "xt": board["corrupted", t][:kept].tolist(),
            "xhat": board["restored", t][:kept].tolist(),
            "entropy": board["entropy", t][:kept].tolist() if ("entropy", t) in board else [],
        }
        columns["entropy"] += [None] * (kept - len(columns["entropy"]))
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [{"t": t, "sampler": board["sampler"], "sampler_steps": board["sampler_steps"], **row} for row in rows]

    def _texts(self, row: Record, tokenizer: Tokenizer) -> Record:
        """The three rows of ids as pieces of text, so that the table can be read without a tokenizer."""
        for token in {*row["x0"], *row["xt"], *row["xhat"]} - self._pieces.keys():
            self._pieces[token] = tokenizer.piece(token)
        return {f"{name}_text": [self._pieces[token] for token in row[name]] for name in ("x0", "xt", "xhat")}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_dry_run(trainer) or not trainer.is_global_zero or not self.sequences:
            return
        path = run_folder(trainer) / "sequences.parquet"
        update_rows(path, self.sequences, SEQUENCES, KEY, may_overwrite(trainer))

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end
