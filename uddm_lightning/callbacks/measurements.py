"""The tidy table of a run, measurements.csv, and its summary in the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.callbacks.probe import Probe
from uddm_lightning.console import say
from uddm_lightning.run_folder import of_checkpoint, origin, settle
from uddm_lightning.tables import Record, update_table
from uddm_lightning.task import DiffusionTask
from uddm_lightning.trainer import callbacks_of, data_of, is_dry_run


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run at hand: of the checkpoint under measurement if there is one, else where `fit` writes."""
    if trainer.state.fn != TrainerFn.FITTING and trainer.ckpt_path:
        return of_checkpoint(Path(trainer.ckpt_path))
    return Path(trainer.default_root_dir).absolute()


def probes(trainer: Trainer) -> list[Probe]:
    """All probes of a trainer, in the order in which they run."""
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, Probe)]


class MeasurementTable(Callback):
    """Collects the records of all probes after each validation into the run's measurements.csv and prints a summary.

    The table is rewritten by key, so that measuring a checkpoint again replaces its own rows and nothing else.
    """

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or is_dry_run(trainer) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionTask)
        folder = run_folder(trainer)
        common = {
            "run": folder.name,
            "backbone": pl_module.backbone_name,
            "parameters": pl_module.parameter_count,
            "size": data_of(trainer).subset_size,
            "seed": data_of(trainer).seed,
            "step": pl_module.weights_step,
        }
        records = [{**common, "kind": probe.kind, **record} for probe in probes(trainer) for record in probe.records]
        if records:
            settle(folder, data_of(trainer).manifest())
            update_table(folder / "measurements.csv", records)
            say(summary(records) + _doubt(folder))

    on_test_end = on_validation_end


def summary(records: Sequence[Record]) -> str:
    """One small table: per t the recovery and entropy on train and test rows, then the NELBO and the basins."""
    step, size = records[0]["step"], records[0]["size"]
    lines = []
    for weights in dict.fromkeys(record["weights"] for record in records):
        mine = [record for record in records if record["weights"] == weights]
        recovery = {(r["split"], r["t"]): r for r in mine if r["kind"] == "recovery"}
        entropy = {(r["split"], r["t"]): r["entropy"] for r in mine if r["kind"] == "entropy"}
        title = f"step {step}, {size} training rows, {weights} weights"
        if recovery:
            first = next(iter(recovery.values()))
            title += f", {first['chain']} chain on {first['steps']} steps"
        splits = ("train", "test", "samples") if any(split == "samples" for split, _ in entropy) else ("train", "test")
        heads = " ".join(f"{split:>7}" for split in splits[1:])
        lines += [title, f"       t  recovery: train    test  chance   entropy [nats]: train {heads}"]
        for t in sorted({t for _, t in [*recovery, *entropy]}):
            cells = [recovery.get((split, t), {}).get("recovery") for split in ("train", "test")]
            chance = recovery.get(("test", t), {}).get("chance")
            doubts = " ".join(f"{_cell(entropy.get((split, t))):>7}" for split in splits)
            lines.append(
                f"{t:>8g}  {_cell(cells[0]):>15} {_cell(cells[1]):>7} {_cell(chance):>7}                 {doubts}"
            )
        bounds = {r["split"]: r for r in mine if r["kind"] == "nelbo"}
        for r in list(bounds.values())[:1]:
            values = ", ".join(f"{split} {_cell(b['nelbo'])}" for split, b in bounds.items())
            lines.append(f"   NELBO on [{r['t_min']:g}, {r['t_max']:g}], nats per token: {values}")
        lines += [*_samples(mine), *_basins(mine)]
    return "\n".join(lines)


def _doubt(folder: Path) -> str:
    """What must be said of a network that was trained elsewhere."""
    file = origin(folder)
    return "" if file is None else f"\n   converted from {file}: whether it was trained on these rows is not known"


def _samples(records: Sequence[Record]) -> list[str]:
    """What the model's own samples are, in a line."""
    drawn = {record["split"]: record for record in records if record["kind"] == "samples"}
    if "samples" not in drawn:
        return []
    mine = drawn["samples"]
    labels = ", ".join(f"{mine[f'n_{label}']} {label}" for label in ("memorized", "spurious", "generalized"))
    values = ", ".join(f"{split} {_cell(record['generative_perplexity'])}" for split, record in drawn.items())
    judged = f"; perplexity under the {mine['critic']} critic: {values}" if "critic" in mine else ""
    return [f"   {mine['n_draws']} samples: {labels}{judged}"]


def _basins(records: Sequence[Record]) -> list[str]:
    """A line about fixed points and one about critical corruption, where they were measured."""
    fixed = {r["split"]: r for r in records if r["kind"] == "recovery" and "fixed_rows" in r}
    basins = {r["split"]: r for r in records if r["kind"] == "basin"}
    shares = ", ".join(f"{s} {_cell(r['fixed_tokens'])} / {_cell(r['fixed_rows'])}" for s, r in fixed.items())
    radii = ", ".join(f"{s} {_cell(r['critical_t'])}" for s, r in basins.items())
    lines = [f"   fixed points, share of tokens / of rows: {shares}"] if fixed else []
    return [*lines, f"   critical corruption t, mean: {radii}"] if basins else lines


def _cell(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
