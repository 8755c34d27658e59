"""A launcher outside the package that trains nothing and writes measurements of a model with a known transition."""

import json
import math
from collections.abc import Sequence

from uddm_lightning.results.tables import update_table
from uddm_lightning.sweeps.launchers import Launcher, Outcome
from uddm_lightning.sweeps.sweep_run import SweepRun


class FakeLauncher(Launcher):
    """Every run is finished at the next poll.

    Args:
        jobs: not used.
        turn: transition size of the curves.
        fails: size of the run that fails.
    """

    def __init__(self, jobs: int | None = None, turn: float = 90.0, fails: int = 0) -> None:
        super().__init__(jobs)
        self.turn = turn
        self.fails = fails
        self.waiting: list[SweepRun] = []

    def submit(self, runs: Sequence[SweepRun]) -> None:
        self.waiting += runs

    def poll(self) -> list[Outcome]:
        runs, self.waiting = self.waiting, []
        return [self.train(run) for run in runs]

    def running(self) -> list[SweepRun]:
        return []

    def stop(self) -> None:
        self.waiting = []

    def train(self, run: SweepRun) -> Outcome:
        run.log.parent.mkdir(parents=True, exist_ok=True)
        if run.size == self.fails:
            run.log.write_text("one\nno memory left\n", encoding="utf-8")
            return Outcome(run, -9, "ended by signal SIGKILL")
        held = 1.0 / (1.0 + math.exp(1.7 * (math.log(run.size) - math.log(self.turn))))
        common = {
            "run": run.name,
            "backbone": run.backbone,
            "parameters": 1000,
            "train_size": run.size,
            "seed": run.seed,
        }
        common |= {"step": run.steps, "weights": "ema", "sampler": "ancestral"}
        rows = []
        for split, recovery in (("train", 0.25 + 0.74 * held), ("test", 0.25 - 0.15 * held)):
            interval = {"recovery_low": recovery - 0.02, "recovery_high": recovery + 0.02}
            rows.append(
                {"metric": "recovery", "split": split, "t": 0.1, "recovery": recovery, "chance": 0.02, **interval}
            )
            entropy = 1.7 * (1.0 - held) if split == "train" else 1.7
            interval = {"entropy_low": max(0.0, entropy - 0.03), "entropy_high": entropy + 0.03}
            rows.append({"metric": "entropy", "split": split, "t": 0.1, "entropy": entropy, **interval})
        update_table(run.folder / "measurements.csv", [{**common, "n_rows": 64, "n_draws": 64, **row} for row in rows])
        manifest = {"train_size": run.size, "trained_steps": run.steps}
        (run.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return Outcome(run, 0)
