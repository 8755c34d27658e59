"""A launcher of another package: it trains nothing, and writes what a model with a known transition would measure."""

import json
import math
from collections.abc import Sequence

from uddm_lightning.results.tables import update_table
from uddm_lightning.sweeps.launchers import Launcher, Outcome
from uddm_lightning.sweeps.sweep_run import SweepRun


class FakeLauncher(Launcher):
    """Every run is finished at the next look.

    Args:
        jobs: as for every launcher; not used.
        turn: N* of the curves it makes up.
        fails: size whose run fails.
    """

    def __init__(self, jobs: int | None = None, turn: float = 90.0, fails: int = 0) -> None:
        super().__init__(jobs)
        self.turn = turn
        self.fails = fails
        self.waiting: list[SweepRun] = []

    def submit(self, cells: Sequence[SweepRun]) -> None:
        self.waiting += cells

    def poll(self) -> list[Outcome]:
        cells, self.waiting = self.waiting, []
        return [self.train(cell) for cell in cells]

    def running(self) -> list[SweepRun]:
        return []

    def stop(self) -> None:
        self.waiting = []

    def train(self, cell: SweepRun) -> Outcome:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        if cell.size == self.fails:
            cell.log.write_text("one\nno memory left\n", encoding="utf-8")
            return Outcome(cell, -9, "ended by signal SIGKILL")
        held = 1.0 / (1.0 + math.exp(1.7 * (math.log(cell.size) - math.log(self.turn))))
        common = {
            "run": cell.name,
            "backbone": cell.backbone,
            "parameters": 1000,
            "train_size": cell.size,
            "seed": cell.seed,
        }
        common |= {"step": cell.steps, "weights": "ema", "sampler": "ancestral"}
        rows = []
        for split, recovery in (("train", 0.25 + 0.74 * held), ("test", 0.25 - 0.15 * held)):
            interval = {"recovery_low": recovery - 0.02, "recovery_high": recovery + 0.02}
            rows.append(
                {"metric": "recovery", "split": split, "t": 0.1, "recovery": recovery, "chance": 0.02, **interval}
            )
            entropy = 1.7 * (1.0 - held) if split == "train" else 1.7
            interval = {"entropy_low": max(0.0, entropy - 0.03), "entropy_high": entropy + 0.03}
            rows.append({"metric": "entropy", "split": split, "t": 0.1, "entropy": entropy, **interval})
        update_table(cell.run / "measurements.csv", [{**common, "n_rows": 64, "n_draws": 64, **row} for row in rows])
        manifest = {"train_size": cell.size, "trained_steps": cell.steps}
        (cell.run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return Outcome(cell, 0)
