"""A few restored sequences of a run, in sequences.parquet."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.callbacks.measurements import may_overwrite, run_folder
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import check_at_least
from uddm_lightning.results.tables import SEQUENCES, Record, update_rows
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of, is_dry_run

KEY = ("step", "weights", "split", "t", "sampler", "sampler_steps")


class SequenceTable(Callback):
    """Writes the first restored sequences of every validation, for figures and bootstraps.

    Runs after the probes and reads their notes on each batch. With several processes, the sequences are those of the
    first one.

    Args:
        rows: sequences to keep for each split, t and kind of weights.
    """

    def __init__(self, rows: int = 128) -> None:
        check_at_least(0, rows=rows)
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
        for weights, notes in pl_module.notes.items():
            common = {"split": split, "step": pl_module.weights_step, "weights": weights}
            for t in notes.restored:
                self.sequences += [
                    {**common, **row, **self._texts(row, data.tokenizer.decode_token)} for row in self._rows(notes, t)
                ]

    def _rows(self, notes: BatchNotes, t: float) -> list[Record]:
        assert notes.batch is not None
        assert notes.sampler is not None
        restored = notes.restored[t]
        kept = int((notes.batch.places_B < self.rows).sum())  # places ascend, so these are the first
        kept = min(kept, len(restored.xhat_BL))
        columns = {
            "row_id": notes.batch.rows_B[:kept].tolist(),
            "x0": notes.batch.tokens_BL[:kept].tolist(),
            "xt": restored.xt_BL[:kept].tolist(),
            "xhat": restored.xhat_BL[:kept].tolist(),
            "entropy": notes.entropy_BL[t][:kept].tolist() if t in notes.entropy_BL else [],
        }
        columns["entropy"] += [None] * (kept - len(columns["entropy"]))
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        chain = {"sampler": notes.sampler.name, "sampler_steps": notes.sampler.steps}
        return [{"t": t, **chain, **row} for row in rows]

    def _texts(self, row: Record, decode: Callable[[int], str]) -> Record:
        """Return the pieces of text of the three rows, so that the table can be read without a tokenizer."""
        for token in {*row["x0"], *row["xt"], *row["xhat"]} - self._pieces.keys():
            self._pieces[token] = decode(token)
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
