"""What TensorBoard shows: scalars under tidy names, curves side by side, histograms, a figure and restored text."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from uddm_lightning.callbacks.figures import pixels, recovery_figure, sequence_panel, write_picture
from uddm_lightning.callbacks.measurements import probes, run_folder
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.metrics.functional import PredictionSpread
from uddm_lightning.probes.nelbo import NelboProbe
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, data_of, is_dry_run

PANEL_ROWS = 4
SAMPLES = ("n_memorized", "n_spurious", "n_novel", "generative_perplexity", "novel_perplexity", "unigram_entropy")
BESIDE = ("chance", "coincidence", "bayes_argmax", "clean_change_rate", "errors_before", "errors_after")  # recovery
MIDDLE = 0.5  # the t of a trajectory that scalars show


class TensorBoardPage(Callback):
    """Logs every measurement. Stands after the probes and the `SequenceTable` among the callbacks.

    Scalars, where raw weights add `_raw` to the first word: `recovery/<split>/t=<t>`, `gap/t=<t>` (train minus test
    recovery), beside recovery `chance`, `coincidence`, `bayes_argmax`, `clean_change_rate`, `errors_before` and
    `errors_after`, each `/<split>/t=<t>`, `entropy/<split>/t=<t>`, `margin/<split>`, `fixed_tokens/<split>`,
    `fixed_rows/<split>`, `leave_one_out/<split>`, `leak/<split>`, `nelbo/<split>/[<t_min>,<t_max>]`
    (`nelbo_extrapolated` where that is wider than the trained range), `critical_t/<split>`, `n_memorized/<split>` and
    its like, `generative_perplexity/<split>`, `unigram_entropy/<split>`, `trajectory/<statistic>/t=<t>` (of the
    recorded times the one nearest 0.5), `probe/seconds` and `probe/share` (of the time since the validation before).
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._laid_out = False

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = time.monotonic()

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        scalars: dict[str, float] = {}
        for probe in probes(trainer):
            scalars.update(_scalars(probe.kind, probe.records))
        if seconds := sum(probe.seconds for probe in probes(trainer)):
            now = time.monotonic()
            scalars["probe/seconds"] = seconds
            scalars["probe/share"] = min(1.0, seconds / max(now - self._last, seconds))
            self._last = now
        # for callbacks that monitor a value, on every rank; loggers get the optimizer step of the weights, not
        # Lightning's batch count
        pl_module.log_dict(scalars, logger=False)
        assert isinstance(pl_module, DiffusionTask)
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=pl_module.weights_step)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionTask)
        records = [{"metric": probe.kind, **record} for probe in probes(trainer) for record in probe.records]
        skip = trainer.sanity_checking or is_dry_run(trainer)
        if skip or not records or not trainer.is_global_zero:
            return
        step, size = pl_module.weights_step, data_of(trainer).subset_size
        title = f"{size} training rows, step {step}"
        for weights in dict.fromkeys(record["weights"] for record in records):
            measured = [record for record in records if record["weights"] == weights]
            picture = pixels(recovery_figure(measured, f"{title}, {weights} weights"))
            if trainer.state.fn == TrainerFn.FITTING:  # measuring a checkpoint again rewrites its rows and nothing else
                write_picture(run_folder(trainer) / "figures" / f"recovery-{weights}.png", picture)
            for writer in _writers(trainer):
                writer.add_image(f"recovery/{weights}", picture, step, dataformats="HWC")
        for writer in _writers(trainer):
            if not self._laid_out:
                writer.add_custom_scalars(_layout(records))
                self._laid_out = True
            _histograms(writer, records, step)
            for tag, text in _panels(trainer):
                writer.add_text(tag, text, step)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the HPARAMS row: what the run was, and the last of what it measured."""
        assert isinstance(pl_module, DiffusionTask)
        if is_dry_run(trainer) or not trainer.is_global_zero:
            return
        records = [{"metric": probe.kind, **record} for probe in probes(trainer) for record in probe.records]
        data = data_of(trainer)
        about = {
            "train_size": data.subset_size,
            "seed": data.seed,
            "parameters": pl_module.parameter_count,
            "backbone": pl_module.backbone_name,
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(about, _outcome(records), pl_module.weights_step)


def names_of_scalars(trainer: Trainer, task: DiffusionTask, splits: Sequence[str]) -> set[str]:
    """Names of the scalars that every validation of a run logs, for callbacks that watch one of them."""
    names = {"probe/seconds", "probe/share"}
    blank = {"bayes_argmax": math.nan}  # of backbones that are not trained
    for probe in probes(trainer):
        if not probe.enabled or probe.num_rows_during_training == 0:
            continue
        times: Any = getattr(probe, "times", [0.0])
        ranges = probe.ranges(task) if isinstance(probe, NelboProbe) else {probe.kind: (0.0, 1.0)}
        records = [
            defaultdict(
                float, {**blank, "metric": kind, "t_min": low, "t_max": high, "split": split, "weights": w, "t": t}
            )
            for kind, (low, high) in ranges.items()
            for split in probe.splits
            if split in splits
            for w in probe.weights
            for t in (times(task.sampler) if callable(times) else times)
        ]
        names.update(_scalars(probe.kind, records))
    return names


def _writers(trainer: Trainer) -> list[SummaryWriter]:
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _word(kind: str, record: Record) -> str:
    return kind if record["weights"] == "ema" else f"{kind}_{record['weights']}"


def _scalars(kind: str, records: Sequence[Record]) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for record in records:
        split = record["split"]
        if kind == "samples":
            scalars |= {f"{_word(name, record)}/{split}": record[name] for name in SAMPLES}
            continue
        if kind == "basin":
            scalars[f"{_word('critical_t', record)}/{split}"] = record["critical_t"]
            continue
        if kind == "trajectory":
            if record["t"] == min((r["t"] for r in records), key=lambda t: abs(t - MIDDLE)):
                for name in PredictionSpread._fields:
                    scalars[f"{_word(kind, record)}/{name}/t={record['t']:g}"] = record[name]
            continue
        if kind == "nelbo":
            bounds = f"[{record['t_min']:g},{record['t_max']:g}]"
            scalars[f"{_word(record.get('metric', kind), record)}/{split}/{bounds}"] = record["nelbo"]
            continue
        scalars[f"{_word(kind, record)}/{split}/t={record['t']:g}"] = record[kind]
        if kind == "recovery":
            for name in ("margin", "fixed_tokens", "fixed_rows"):
                scalars[f"{_word(name, record)}/{split}"] = record[name]
            for name in BESIDE:
                if not math.isnan(record[name]):
                    scalars[f"{_word(name, record)}/{split}/t={record['t']:g}"] = record[name]
            train = scalars.get(f"{_word(kind, record)}/train/t={record['t']:g}")
            if split == "test" and train is not None:
                scalars[f"{_word('gap', record)}/t={record['t']:g}"] = train - record[kind]
        else:
            scalars[f"{_word('leave_one_out', record)}/{split}"] = record["entropy_leave_one_out"]
            scalars[f"{_word('leak', record)}/{split}"] = record["self_token_influence"]
    return scalars


def _layout(records: Iterable[Record]) -> dict[str, dict[str, list[Any]]]:
    """A custom-scalars page with train and test side by side, a chart per t."""
    layout: dict[str, dict[str, list[Any]]] = {}
    for record in records:
        if record["metric"] not in ("recovery", "entropy"):
            continue
        word, t = _word(record["metric"], record), f"t={record['t']:g}"
        layout.setdefault(word, {})[t] = ["Multiline", [f"^{word}/[a-z]+/{t}$"]]
    return layout


def _histograms(writer: SummaryWriter, records: Iterable[Record], step: int) -> None:
    margins = set()  # written once for all times: they are those of the clean rows
    for record in records:
        if record["metric"] == "entropy":
            word = _word("entropy", record)
            for name in ("recovered", "unrecovered"):
                tag = f"{word}_{name}/{record['split']}/t={record['t']:g}"
                _add_histogram(writer, tag, record["_edges"], record[f"_histogram_{name}"], step)
        elif record["metric"] == "recovery":
            margin = record["_margin"]
            tag = f"{_word('margin', record)}/{record['split']}"
            if tag not in margins:
                _add_histogram(writer, tag, margin.edges, margin.histogram, step)
            margins.add(tag)
        elif record["metric"] == "basin" and record["_rows"]:
            tag = f"{_word('critical_t', record)}/{record['split']}"
            found = [row["critical_t"] for row in record["_rows"] if row["critical_t"] is not None]
            if found:
                writer.add_histogram(tag, torch.tensor(found), step)


def _add_histogram(writer: SummaryWriter, tag: str, edges: Tensor, counts: Tensor, step: int) -> None:
    if not int(counts.sum()):
        return
    counts, edges = counts.double().cpu(), edges.double().cpu()
    centres = (edges[1:] + edges[:-1]) / 2
    filled = counts.nonzero()[:, 0]
    writer.add_histogram_raw(
        tag,
        min=float(edges[filled[0]]),
        max=float(edges[filled[-1] + 1]),
        num=int(counts.sum()),
        sum=float((counts * centres).sum()),
        sum_squares=float((counts * centres**2).sum()),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )


def _panels(trainer: Trainer) -> Iterable[tuple[str, str]]:
    """Restored text, a panel for each split and t; marks: + recovered, x not recovered, ! broken."""
    tables = [callback for callback in callbacks_of(trainer) if isinstance(callback, SequenceTable)]
    tokenizer = data_of(trainer).tokenizer
    shown: dict[str, list[str]] = {}
    for sequence in tables[0].sequences if tables else []:
        word = _word("restored", sequence)
        panels = shown.setdefault(f"{word}/{sequence['split']}/t={sequence['t']:g}", [])
        if len(panels) < PANEL_ROWS:
            pieces = [[tokenizer.piece(token) for token in sequence[name]] for name in ("x0", "xt", "xhat")]
            panels.append(sequence_panel(*pieces))
    legend = "marks: + recovered, x not recovered, ! broken"
    for tag, panels in shown.items():
        text = "\n\n".join([*panels, legend])
        yield tag, "\n".join(f"    {line}" for line in text.splitlines())  # four spaces: a code block in Markdown


def _outcome(records: Sequence[Record]) -> dict[str, float]:
    """Columns of the HPARAMS table: recovery, and entropy of training rows, at the t nearest 0.1, and the NELBO."""
    outcome: dict[str, float] = {}
    for kind in ("recovery", "entropy", "nelbo"):
        mine = [r for r in records if r["metric"] == kind and r["weights"] == records[0]["weights"]]
        nearest = min((abs(r.get("t", 0.1) - 0.1) for r in mine), default=0.0)
        for r in mine:
            if abs(r.get("t", 0.1) - 0.1) == nearest:
                name = f"{kind}/{r['split']}"
                outcome["entropy" if name == "entropy/train" else name] = r[kind]
    return outcome
