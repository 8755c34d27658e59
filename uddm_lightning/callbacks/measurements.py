"""The tidy table of a run, measurements.csv, and its summary in the terminal."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.callbacks.row_table import nelbo_draws, write_draws
from uddm_lightning.core.console import say
from uddm_lightning.probes.base import Probe
from uddm_lightning.results.tables import Record, update_table
from uddm_lightning.runs.folder import name_of, of_checkpoint, origin, settle
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, data_of, is_dry_run
from uddm_lightning.transition import falling


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run at hand: of the checkpoint under measurement if there is one, else where `fit` writes."""
    if trainer.state.fn != TrainerFn.FITTING and trainer.ckpt_path:
        return of_checkpoint(Path(trainer.ckpt_path))
    return Path(trainer.default_root_dir).absolute()


def probes(trainer: Trainer) -> list[Probe]:
    """All probes of a trainer, in the order in which they run."""
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, Probe)]


def may_overwrite(trainer: Trainer) -> bool:
    """Whether rows of the tables that were measured on more draws are replaced by rows of fewer."""
    tables = [callback for callback in callbacks_of(trainer) if isinstance(callback, MeasurementTable)]
    return trainer.state.fn == TrainerFn.FITTING or any(table.overwrite for table in tables)


class MeasurementTable(Callback):
    """Collects the records of all probes after each validation into the run's measurements.csv and prints a summary.

    What probes tell of single draws goes into rows.parquet. A table is rewritten by key, so that measuring a checkpoint
    again replaces its own rows and nothing else. Here and in the other tables of the run, rows that were measured on
    more draws are kept, except by `fit`, whose weights are new.

    Args:
        overwrite: replace rows that were measured on more draws by those of this measurement.
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
            "run": pl_module.run_name or name_of(folder),
            "backbone": pl_module.backbone_name,
            "parameters": pl_module.parameter_count,
            "train_size": data_of(trainer).subset_size,
            "seed": data_of(trainer).seed,
            "step": pl_module.weights_step,
        }
        records = [{**common, "metric": probe.kind, **record} for probe in probes(trainer) for record in probe.records]
        if records:
            settle(folder, data_of(trainer).manifest(), pl_module.run_name)
            write_draws(folder, records, may_overwrite(trainer))
            for record in records:
                if record["metric"] == "nelbo":
                    draws = nelbo_draws(folder, record["weights"], pl_module.weights_step)
                    record["nelbo_falling"] = falling(draws, record["split"])
            kept = update_table(folder / "measurements.csv", records, may_overwrite(trainer))
            say(summary(records) + _doubt(folder) + _kept(kept))

    on_test_end = on_validation_end


def summary(records: Sequence[Record]) -> str:
    """Small tables: per t the recovery and entropy of rows, and what recovery costs; then the NELBO and the basins."""
    step, size = records[0]["step"], records[0]["train_size"]
    lines = []
    for weights in dict.fromkeys(record["weights"] for record in records):
        mine = [record for record in records if record["weights"] == weights]
        recovery = {(r["split"], r["t"]): r for r in mine if r["metric"] == "recovery"}
        entropy = {(r["split"], r["t"]): r["entropy"] for r in mine if r["metric"] == "entropy"}
        title = f"step {step}, {size} training rows, {weights} weights"
        if recovery:
            first = next(iter(recovery.values()))
            title += f", {first['sampler']} chain on {first['sampler_steps']} steps"
        splits = ("train", "test", "samples") if any(split == "samples" for split, _ in entropy) else ("train", "test")
        heads = " ".join(f"{split:>7}" for split in splits[1:])
        lines.append(title)
        lines.append(f"       t  recovery: train    test  chance  coincidence   entropy [nats]: train {heads}")
        for t in sorted({t for _, t in [*recovery, *entropy]}):
            train, test = (recovery.get((split, t), {}) for split in ("train", "test"))
            cells = (
                f"{_cell(train.get('recovery')):>15} {_cell(test.get('recovery')):>7} {_cell(test.get('chance')):>7}"
            )
            doubts = " ".join(f"{_cell(entropy.get((split, t))):>7}" for split in splits)
            lines.append(f"{t:>8g}  {cells} {_cell(test.get('coincidence')):>12}                 {doubts}")
        lines += [*_costs(recovery), *_bounds(mine)]
        lines += [*_samples(mine), *_basins(mine)]
    return "\n".join(lines)


def _doubt(folder: Path) -> str:
    """What must be said of a network that was trained elsewhere."""
    file = origin(folder)
    return "" if file is None else f"\n   converted from {file}: whether it was trained on these rows is not known"


def _kept(records: Sequence[Record]) -> str:
    """What must be said where a table keeps rows of more draws."""
    if not records:
        return ""
    kinds = ", ".join(sorted({record["metric"] for record in records}))
    return (
        f"\n   {len(records)} earlier row(s) of the tables rest on more draws and are kept ({kinds}); "
        "`--table.overwrite true` replaces them."
    )


def _costs(recovery: Mapping[tuple[str, float], Record]) -> list[str]:
    """What recovery of test rows costs: clean tokens changed, and wrong tokens before and after the chain."""
    mine = [record for (split, _), record in sorted(recovery.items()) if split == "test"]
    if not mine:
        return []
    known = [record for record in mine if not math.isnan(record.get("bayes_argmax", math.nan))]
    head = "       t  test rows: clean tokens changed  wrong tokens: before   after"
    lines = [head + ("  recovery of the best estimate" if known else "")]
    for record in mine:
        cells = (_cell(record.get(name)) for name in ("clean_change_rate", "errors_before", "errors_after"))
        line = "{:>8g}  {:>31} {:>21} {:>7}".format(record["t"], *cells)
        lines.append(line + (f" {_cell(record['bayes_argmax']):>30}" if record in known else ""))
    return lines


def _bounds(records: Sequence[Record]) -> list[str]:
    """The NELBO on each range of t, a line for each."""
    lines = []
    for kind in ("nelbo", "nelbo_extrapolated"):
        mine = [record for record in records if record["metric"] == kind]
        for first in mine[:1]:
            values = ", ".join(f"{record['split']} {_cell(record['nelbo'])}" for record in mine)
            span = f"[{first['t_min']:g}, {first['t_max']:g}]"
            note = " (extrapolated: wider than the range of training)" if kind == "nelbo_extrapolated" else ""
            level = f"; unigram entropy of the pool {_cell(first.get('pool_unigram_entropy'))}"
            lines.append(f"   NELBO on {span}{note}, nats per token: {values}{level}")
        if any(record["split"] == "test" and record.get("nelbo_falling") for record in mine):
            lines.append("   the NELBO of test rows was still falling over the last three validations")
    return lines


def _samples(records: Sequence[Record]) -> list[str]:
    """What the model's own samples are, in a line."""
    drawn = {record["split"]: record for record in records if record["metric"] == "samples"}
    if "samples" not in drawn:
        return []
    mine = drawn["samples"]
    labels = ", ".join(f"{mine[f'n_{label}']} {label}" for label in ("memorized", "spurious", "novel"))
    values = ", ".join(f"{split} {_cell(record['generative_perplexity'])}" for split, record in drawn.items())
    novel = f", novel samples {_cell(mine['novel_perplexity'])}" if mine["n_novel"] else ""
    judged = f"; perplexity under the {mine['critic']} critic: {values}{novel}" if "critic" in mine else ""
    return [f"   {mine['n_draws']} samples: {labels}{judged}"]


def _basins(records: Sequence[Record]) -> list[str]:
    """A line about fixed points and one about critical corruption, where they were measured."""
    fixed = {r["split"]: r for r in records if r["metric"] == "recovery" and "fixed_rows" in r}
    basins = {r["split"]: r for r in records if r["metric"] == "basin"}
    shares = ", ".join(f"{s} {_cell(r['fixed_tokens'])} / {_cell(r['fixed_rows'])}" for s, r in fixed.items())
    radii = ", ".join(f"{s} {_cell(r['critical_t'])}" for s, r in basins.items())
    lines = [f"   fixed points, share of tokens / of rows: {shares}"] if fixed else []
    if basins:
        level = _cell(next(iter(basins.values())).get("critical_t_identity"))
        lines.append(f"   critical corruption t, mean: {radii}; of a chain that does nothing {level}")
    return lines


def _cell(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
