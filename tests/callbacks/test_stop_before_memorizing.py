"""A run stops when its gap surely leaves the tolerance, or when the test NELBO rises."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from lightning.pytorch.trainer.states import TrainerFn

from tests.support.command_line import table
from uddm_lightning.callbacks import StopBeforeMemorizing
from uddm_lightning.probes import NelboProbe, RecoveryProbe
from uddm_lightning.runs.manifest import stopped_early, trained_steps

RESULTS = Path(__file__).parent / "results" / "stopping.csv"
FEW = ("--entropy.enabled=false", "--basin.enabled=false", "--samples.enabled=false", "--trajectory.enabled=false")


class Run:
    """A callback beside two probes whose records are given."""

    def __init__(self, **arguments: float) -> None:
        self.callback = StopBeforeMemorizing(**arguments)
        self.recovery, self.nelbo = RecoveryProbe(times=[0.1, 0.5]), NelboProbe()
        self.trainer = SimpleNamespace(
            callbacks=[self.recovery, self.nelbo, self.callback],
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            sanity_checking=False,
            should_stop=False,
            val_check_batch=10,
        )

    def sees(self, train: float, test: float, half: float = 0.01, nelbo: float | None = None) -> bool:
        """Return whether the run stops after a validation with these measurements at t = 0.1."""
        common: dict[str, Any] = {"metric": "recovery", "weights": "ema"}
        self.recovery.records = [
            {**common, "split": split, "t": t, "recovery": v, "recovery_low": v - half, "recovery_high": v + half}
            for t in (0.1, 0.5)
            for split, value in (("train", train), ("test", test), ("random", 0.0))
            for v in (value if t == 0.1 else 0.5,)
        ]
        found = [] if nelbo is None else [{"metric": "nelbo", "weights": "ema", "split": "test", "nelbo": nelbo}]
        self.nelbo.records = found
        self.callback.on_validation_end(self.trainer, Mock())
        return self.trainer.should_stop


def test_only_a_gap_whose_whole_interval_is_above_the_tolerance_stops() -> None:
    run = Run()
    assert not run.sees(0.2, 0.2)
    assert not run.sees(0.23, 0.2)  # 0.03 (0.016 to 0.044)
    assert run.sees(0.24, 0.2)  # 0.04 (0.026 to 0.054)
    assert run.callback.stopping_reason_message == (
        "train minus test recovery at t = 0.1 is 0.040 (0.026 to 0.054), wholly above 0.02"
    )
    assert not Run(tolerance=0.05).sees(0.24, 0.2)
    assert not Run().sees(0.9, 0.1, half=float("nan")), "a gap without an interval is not known"


def test_a_nelbo_that_rises_above_its_smallest_value_stops() -> None:
    run = Run()
    assert [run.sees(0.1, 0.1, nelbo=value) for value in (2.9, 2.7, 2.71, 2.72)] == [False] * 4
    assert run.sees(0.1, 0.1, nelbo=2.73)
    assert run.callback.stopping_reason_message == "the test NELBO is 2.730 nats, 0.030 above its smallest value"
    patient = Run(rise=0.5)
    assert [patient.sees(0.1, 0.1, nelbo=value) for value in (2.7, 3.1)] == [False] * 2


def test_the_smallest_nelbo_is_part_of_a_checkpoint() -> None:
    first, second = Run(), Run()
    assert not first.sees(0.1, 0.1, nelbo=2.5)
    second.callback.load_state_dict(first.callback.state_dict())
    assert second.sees(0.1, 0.1, nelbo=2.6)


def test_measuring_a_checkpoint_stops_nothing() -> None:
    run = Run()
    run.trainer.state.fn = TrainerFn.VALIDATING
    assert not run.sees(0.9, 0.1, nelbo=3.0)


def test_it_validates_at_steps_that_grow() -> None:
    callback = StopBeforeMemorizing(first_step=4, growth=1.5)
    assert [step for step in range(1, 40) if callback.validations.is_due(step)] == [4, 6, 9, 14, 21, 32]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tolerance": 0.0}, "`tolerance` must be in"),
        ({"rise": 0.0}, "`rise` must be in"),
        ({"first_step": 0}, "`first_step` must be at least 1"),
        ({"growth": 1.0}, "`growth` must be in"),
        ({"num_rows": 0}, "`num_rows` must be at least 1"),
    ],
)
def test_other_arguments_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StopBeforeMemorizing(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_run_stops_measured_and_saved(uddm, config: Path) -> None:
    words = ("--trainer.callbacks+", "StopBeforeMemorizing", "--trainer.callbacks.num_rows", 13)
    steps = ("--trainer.callbacks.first_step", 2, "--trainer.callbacks.rise", 1e-9, "--trainer.callbacks.growth", 1.3)
    draws = ("--recovery.num_rows_during_training", 3, "--nelbo.num_rows_during_training", 2)
    learn = ("--trainer.max_steps", 300, "--trainer.val_check_interval", 300, "--data.train_size", 1)
    outcome = uddm("fit", "-c", config, "--out", "run", *learn, *FEW, *words, *steps, *draws)
    assert outcome.status == 0, outcome.err
    step = trained_steps(Path("run"))
    assert 0 < step < 300
    assert stopped_early(Path("run")).startswith("StopBeforeMemorizing: ")
    assert f"uddm: stopped early at step {step}: StopBeforeMemorizing: " in outcome.err
    assert max(int(row["step"]) for row in table(Path("run"))) == step
    first = [row for row in table(Path("run")) if row["step"] == "2" and row["split"] == "test"]
    found = {(row["metric"], row["t"]): int(row["n_draws"]) for row in first}
    assert (found["recovery", "0.1"], found["nelbo", ""]) == (13, 4), "whatever the probes say"
    assert found["recovery", "0.5"] == 3


def test_a_run_without_recovery_is_refused(uddm, config: Path) -> None:
    words = ("--trainer.callbacks+", "StopBeforeMemorizing", "--recovery.num_rows_during_training", 0)
    outcome = uddm("fit", "-c", config, "--out", "run", *words)
    assert outcome.status == 2
    assert "set `--recovery.enabled true --recovery.num_rows_during_training 32`" in outcome.err


@pytest.mark.parametrize("key", ["num_train_rows", "num_test_rows"])
def test_fewer_rows_than_it_needs_are_refused(uddm, config: Path, key: str) -> None:
    words = ("--trainer.callbacks+", "StopBeforeMemorizing", f"--data.{key}", 100)
    outcome = uddm("fit", "-c", config, "--data.num_train_rows", 1024, "--data.num_test_rows", 1024, *words)
    assert outcome.status == 2, outcome.err
    assert f"`data.{key}` is 100: set `--data.{key} 1024` or `--trainer.callbacks.num_rows 100`" in outcome.err


def test_measured_runs_of_the_quickstart_stop_in_time() -> None:
    """With 256 rows on the way, of an earlier version, the interval of the gap was too wide at 128 rows."""
    with RESULTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    found = {(int(row["train_size"]), int(row["rows"])): row for row in rows}
    assert {(size, 1024) for size in (8, 16, 32, 64, 128)} <= found.keys()
    for place, row in found.items():
        assert float(row["test_nelbo"]) <= float(row["smallest_test_nelbo"]) + 0.05, row
        assert (float(row["gap"]) <= 0.1) == (place != (128, 256)), row
