"""Validations after given steps, which change nothing of the training."""

import csv
import re
from pathlib import Path

import pytest
import torch

from tests.support.command_line import OFF, saved
from uddm_lightning.callbacks import ValidationSteps
from uddm_lightning.core.errors import InputError

NELBO = [word for word in OFF if word != "--nelbo.enabled"]


def steps(out: Path) -> list[int]:
    with (out / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return sorted({int(row["step"]) for row in csv.DictReader(file)})


def options(*given: str) -> list[str]:
    words = list(zip(OFF[::2], OFF[1::2], strict=True))
    return [word for key, value in words if key != "--nelbo.enabled" for word in (key, value)] + list(given)


AT = ("--trainer.callbacks+", "ValidationSteps", "--trainer.callbacks.steps", "[1,4]")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_is_measured_at_the_given_steps_and_trains_as_before(uddm, config: Path, accumulate: int) -> None:
    common = ("--trainer.accumulate_grad_batches", accumulate, "--trainer.val_check_interval", 6 * accumulate)
    for out, words in (("plain", ()), ("at", AT)):
        outcome = uddm("fit", "-c", config, "--out", out, *common, *options(*words))
        assert outcome.status == 0, outcome.err
    assert steps(Path("plain")) == [6]
    assert steps(Path("at")) == [1, 4, 6]
    one, two = saved(Path("plain"))["state_dict"], saved(Path("at"))["state_dict"]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_interval_of_the_trainer_holds_beside_it(uddm, config: Path) -> None:
    outcome = uddm("fit", "-c", config, "--out", "run", "--trainer.val_check_interval", 3, *options(*AT))
    assert outcome.status == 0, outcome.err
    assert steps(Path("run")) == [1, 3, 4, 6]


@pytest.mark.parametrize("wrong", [[], [0], [-1, 2], [1.5], [True]])
def test_other_steps_are_refused(wrong: list[int]) -> None:
    with pytest.raises(InputError, match=re.escape(f"must be whole numbers of at least 1, got {wrong}.")):
        ValidationSteps(wrong)
