"""The counts and sums of every draw of a run, in rows.parquet: what bootstraps read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.callbacks.measurements import may_overwrite, probes, run_folder
from uddm_lightning.tables import ROWS, Record, update_parquet
from uddm_lightning.task import DiffusionTask
from uddm_lightning.trainer import is_dry_run

KEY = ("kind", "split", "step", "weights", "t", "chain", "steps")


class RowTable(Callback):
    """Keeps a row of the table for every draw that a recovery, entropy or NELBO probe measured."""

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or is_dry_run(trainer) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionTask)
        records = [{"kind": probe.kind, **record} for probe in probes(trainer) for record in probe.records]
        if tables := [draws(record, pl_module.weights_step) for record in records if "_draws" in record]:
            update_parquet(run_folder(trainer) / "rows.parquet", pa.concat_tables(tables), KEY, may_overwrite(trainer))

    on_test_end = on_validation_end


def draws(record: Record, step: int) -> pa.Table:
    """The draws of one measurement as rows of the table.

    Args:
        record: of a probe, with the columns of its draws under `_draws`.
        step: optimizer step of the weights.
    """
    columns = dict(record["_draws"])
    number = len(columns["row_id"])
    common = {**record, "step": step, "chain": record.get("chain") or ""}
    absent = {"document": -1, "margin": np.nan}

    def column(field: pa.Field) -> pa.Array:
        values: Sequence[Any] | None = columns.get(field.name)
        if values is None:
            return pa.array([common.get(field.name) if field.name in KEY else None] * number, field.type)
        array = np.asarray(values)
        missing = np.isnan(array) if field.name == "margin" else array == absent.get(field.name)
        return pa.array(array, field.type, mask=np.broadcast_to(missing, array.shape))

    return pa.table([column(field) for field in ROWS], schema=ROWS)
