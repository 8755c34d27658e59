"""The tidy table of a run, measurements.csv, and its summary in the terminal."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.callbacks.row_table import draws_until, write_draws
from uddm_lightning.core.console import say
from uddm_lightning.probes.base import Probe
from uddm_lightning.probes.summary import time_table
from uddm_lightning.results.declarations import Declarations, write_declarations
from uddm_lightning.results.tables import Record, update_table
from uddm_lightning.runs.manifest import complete_manifest, converted_from, find_run_folder, read_run_name
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, data_of, is_dry_run


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of the run: that of the checkpoint under measurement, else the output folder of `fit`."""
    if trainer.state.fn != TrainerFn.FITTING and trainer.ckpt_path:
        return find_run_folder(Path(trainer.ckpt_path))
    return Path(trainer.default_root_dir).absolute()


def probes(trainer: Trainer) -> list[Probe]:
    """Return all probes of a trainer, in the order in which they run."""
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, Probe)]


def may_overwrite(trainer: Trainer) -> bool:
    """Return whether rows of fewer draws replace rows of more draws in the tables."""
    tables = [callback for callback in callbacks_of(trainer) if isinstance(callback, MeasurementTable)]
    return trainer.state.fn == TrainerFn.FITTING or any(table.overwrite for table in tables)


class MeasurementTable(Callback):
    """Writes the records of all probes to the run's measurements.csv after each validation, and prints a summary.

    The draws behind the records go to rows.parquet, the declarations of the columns to columns.json. Tables are
    rewritten by key: measuring a checkpoint again replaces its own rows only. Rows that were measured on more draws are
    kept in all tables of the run, except by `fit`, whose weights are new.

    Args:
        overwrite: replace rows of more draws by those of this measurement.
    """

    def __init__(self, overwrite: bool = False) -> None:
        self.overwrite = overwrite

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or is_dry_run(trainer) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionTask)
        folder = run_folder(trainer)
        common = {
            "run": pl_module.run_name or read_run_name(folder),
            "backbone": pl_module.backbone_name,
            "parameters": pl_module.parameter_count,
            "train_size": data_of(trainer).subset_size,
            "seed": data_of(trainer).seed,
            "step": pl_module.weights_step,
        }
        measured = {probe: [{**common, **record} for record in probe.records] for probe in probes(trainer)}
        records = [record for found in measured.values() for record in found]
        if records:
            complete_manifest(folder, data_of(trainer).manifest(), pl_module.run_name)
            write_draws(folder, records, may_overwrite(trainer))
            for probe, found in measured.items():
                probe.complete(found, partial(draws_until, folder, step=pl_module.weights_step))
            declared = Declarations(probe.declaration() for probe in measured)
            write_declarations(folder, declared)
            kept = update_table(folder / "measurements.csv", records, may_overwrite(trainer), declared.columns)
            say(summary(list(measured), records) + _doubt(folder) + _kept(kept))

    on_test_end = on_validation_end


def summary(probes: Sequence[Probe], records: Sequence[Record]) -> str:
    """Return the tables of the terminal: for each kind of weights a table by t, then the lines of each probe.

    Args:
        probes: in the order in which they run.
        records: at least one, of these probes, with the fields `metric`, `step` and `train_size`.
    """
    lines = []
    for weights in dict.fromkeys(record["weights"] for record in records):
        mine = [record for record in records if record["weights"] == weights]
        groups = [(probe, [record for record in mine if record["metric"] in probe.metrics()]) for probe in probes]
        title = f"step {mine[0]['step']}, {mine[0]['train_size']} training rows, {weights} weights"
        if mine[0].get("sampler"):
            title += f", {mine[0]['sampler']} chain on {mine[0]['sampler_steps']} steps"
        lines.append(title)
        lines += time_table((probe.summary_columns, found) for probe, found in groups)
        lines += [line for probe, found in groups for line in probe.summary_lines(found)]
    return "\n".join(lines)


def _doubt(folder: Path) -> str:
    """Return the caveat about a network that was trained elsewhere, or nothing."""
    file = converted_from(folder)
    return "" if file is None else f"\n   converted from {file}: whether it was trained on these rows is not known"


def _kept(records: Sequence[Record]) -> str:
    """Return a sentence about rows that the tables keep, or nothing."""
    if not records:
        return ""
    kinds = ", ".join(sorted({record["metric"] for record in records}))
    return (
        f"\n   {len(records)} earlier row(s) of the tables rest on more draws and are kept ({kinds}); "
        "`--table.overwrite true` replaces them."
    )
