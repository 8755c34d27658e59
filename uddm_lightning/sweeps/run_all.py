"""Train the runs of a sweep through a launcher, with one progress bar for all of them."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import hold_lock
from uddm_lightning.core.progress import Progress
from uddm_lightning.sweeps.board import BOARD, link
from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.sweep_run import SweepRun
from uddm_lightning.sweeps.variant import Variant

LOOK = 0.2  # seconds between two polls of the launcher
LOG_LINES = 15  # last lines of the log that are shown if a run fails
KEYS = 8  # number of differing keys in the error message


@dataclass
class Sweep:
    """Trains runs through a launcher and reports their progress.

    Attributes:
        folder: folder of the sweep; runs are written to `runs/`, their output to `logs/`.
        variants: one for each backbone.
        seeds: every size is trained with each of them.
        launcher: starts the runs.
        best: exact model of the text, which is measured once; None if the distribution of the text is unknown.
        digits: of the sizes in the names of `tensorboard/`, so that they sort.
        failed: runs that have failed.
    """

    folder: Path
    variants: Sequence[Variant]
    seeds: Sequence[int]
    launcher: Launcher
    best: Variant | None = None
    digits: int = 1
    failed: list[Outcome] = field(default_factory=list, init=False)

    def runs(self, variant: Variant, sizes: Sequence[int]) -> list[SweepRun]:
        """Return the runs of one backbone."""
        return [variant.run(self.folder, size, seed) for size in sizes for seed in self.seeds]

    def best_runs(self, size: int) -> list[SweepRun]:
        """Return the run that measures the exact model on the rows of a size; empty if there is no exact model.

        Raises:
            InputError: the run exists with another configuration.
        """
        if self.best is None:
            return []
        self.check_same_config(self.best, [size])
        return [self.best.run(self.folder, size, self.seeds[0])]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the folder against other sweeps, and turn SIGTERM into an orderly stop of the runs.

        Raises:
            InputError: another sweep uses the folder.
        """
        refusal = (
            f"Another sweep is running in `{self.folder}`. Wait for it (`uddm report {self.folder}` shows its results "
            "so far), or choose another folder with `--out`."
        )
        with hold_lock(self.folder / "sweep.lock", refusal):
            before = signal.signal(signal.SIGTERM, _interrupt)
            try:
                yield
            finally:
                signal.signal(signal.SIGTERM, before)

    def check_same_config(self, variant: Variant, sizes: Sequence[int]) -> None:
        """Refuse to mix runs of different configurations.

        Raises:
            InputError: an existing run has another configuration; the message names the keys.
        """
        for run in self.runs(variant, sizes):
            if found := variant.differences(run):
                named = [f"`{key}` is {there!r} there and {here!r} now" for key, (there, here) in found.items()]
                more = f" and {len(named) - KEYS} more" if len(named) > KEYS else ""
                raise InputError(
                    f"`{run.folder}` was made from another configuration: {', '.join(named[:KEYS])}{more}. Use the old "
                    "values, or choose another folder with `--out`."
                )

    def train(self, runs: Sequence[SweepRun], ended: Callable[[SweepRun, float], str]) -> None:
        """Train the unfinished runs; return when every run has ended, successfully or not.

        Args:
            runs: the runs.
            ended: returns a line about the result of a run, given the seconds that it took.
        """
        for run in runs:
            name = f"{run.backbone}-n{run.size:0{self.digits}d}-s{run.seed}"
            link(self.folder / BOARD / name, run.folder)
        waiting = {run.name: run for run in runs if not run.finished()}
        if len(waiting) < len(runs):
            tqdm.write(f"{len(runs) - len(waiting)} of {len(runs)} runs are finished already", file=sys.stderr)
        if not waiting:
            return
        started: dict[str, float] = {}
        took: list[float] = []
        steps = 0.0
        bar = Progress(
            "runs",
            len(waiting),
            initial=_progress(waiting.values()),
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
            delay=0,
            leave=True,
            mininterval=LOOK,
            miniters=0,
        )
        try:
            self.launcher.submit(list(waiting.values()))
            todo = dict(waiting)
            while todo:
                for outcome in self.launcher.poll():
                    todo.pop(outcome.run.name)
                    seconds = time.monotonic() - started.get(outcome.run.name, time.monotonic())
                    self._report(outcome, ended, seconds)
                    took += [seconds] if outcome.status == 0 else []
                    steps += outcome.run.step_seconds() if outcome.status == 0 else 0.0
                running = self.launcher.running()
                for run in running:
                    started.setdefault(run.name, time.monotonic())
                left = _left(took, [time.monotonic() - started[run.name] for run in running], len(todo))
                shown = [f"{run.name} (measuring)" if run.is_measuring() else run.name for run in running[:4]]
                names = ", ".join(shown) or ("waiting for a place to run" if todo else "")
                bar.describe(f"{len(waiting) - len(todo)} of {len(waiting)} runs", left + names)
                bar.update(max(0.0, _progress(waiting.values()) - bar.done))
                time.sleep(LOOK)
        finally:
            # also after Ctrl-C and after an exception, so that no run is left behind
            self.launcher.stop()
            bar.close()
        if took:
            seconds = max(sum(took), steps, 1e-3)
            number = "1 run" if len(took) == 1 else f"{len(took)} runs"
            text = f"{number} took {seconds:.0f} s in all, {steps / seconds:.0%} of it for optimizer steps"
            tqdm.write(text, file=sys.stderr)

    def _report(self, outcome: Outcome, ended: Callable[[SweepRun, float], str], seconds: float) -> None:
        run = outcome.run
        if outcome.status == 0 and run.finished():
            tqdm.write(f"{run.name}: {ended(run, seconds)}", file=sys.stderr)
            return
        self.failed.append(outcome)
        signalled = outcome.status < 0
        how = f"by signal {signal.Signals(-outcome.status).name}" if signalled else f"with status {outcome.status}"
        reason = outcome.reason or f"ended {how}"
        tqdm.write(f"{run.name} FAILED: {reason}; the end of {run.log}:", file=sys.stderr)
        for line in _tail(run.log):
            tqdm.write(f"    {line}", file=sys.stderr)


def _left(took: Sequence[float], running: Sequence[float], todo: int) -> str:
    """Return the remaining time in words, estimated from the duration of finished runs.

    Args:
        took: seconds that each finished run took, including measurements.
        running: seconds that each present run has taken so far.
        todo: number of runs that have not ended, including the present ones.
    """
    if not took or not running:
        return ""
    each = sum(took) / len(took)
    work = sum(max(0.0, each - seconds) for seconds in running) + each * (todo - len(running))
    return f"about {max(1, math.ceil(work / len(running) / 60))} min left, "


def _progress(runs: Iterable[SweepRun]) -> float:
    return sum(run.progress() for run in runs)


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return ["(nothing was printed)"]


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
