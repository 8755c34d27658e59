"""Critical corruption and margins of single rows of a run, in basins.parquet."""

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.callbacks.measurements import may_overwrite, probes, run_folder
from uddm_lightning.core.errors import check_at_least
from uddm_lightning.results.tables import BASINS, Record, update_rows
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import is_dry_run

KEY = ("step", "weights", "split", "sampler", "sampler_steps")


class BasinTable(Callback):
    """Writes the results of the first draws of each split, for records that hold single rows under `_rows`.

    Args:
        rows: draws to keep for each split, chain and kind of weights.
    """

    def __init__(self, rows: int = 512) -> None:
        check_at_least(0, rows=rows)
        self.rows = rows

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or is_dry_run(trainer) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionTask)
        records = [record for probe in probes(trainer) for record in probe.records if "_rows" in record]
        step = pl_module.weights_step
        new = [row for record in records for row in _rows(record, step) if row["place"] < self.rows]
        if new:
            update_rows(run_folder(trainer) / "basins.parquet", new, BASINS, KEY, may_overwrite(trainer))

    on_test_end = on_validation_end


def _rows(record: Record, step: int) -> list[Record]:
    common = {name: record[name] for name in ("split", "weights", "sampler", "sampler_steps")}
    return [{**common, "step": step, **row} for row in record["_rows"]]
