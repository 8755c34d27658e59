"""An optimizer that evaluates a batch several times sees the same batch, noise and dropout; its loss counts once."""

from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.command_line import OFF
from uddm_lightning.results.tables import read_table
from uddm_lightning.training.task import DiffusionTask

LBFGS = ("--model.optimizer", "torch.optim.LBFGS", "--model.optimizer.init_args.max_iter", 4)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Record step and loss of every call of the closure."""
    seen: list[tuple[int, float]] = []
    step = DiffusionTask.training_step

    def training_step(self: DiffusionTask, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        seen.append((batch.step, float(loss.detach())))
        return loss

    monkeypatch.setattr(DiffusionTask, "training_step", training_step)
    return seen


def logged(out: Any) -> dict[int, float]:
    events = EventAccumulator(str(out), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.value for event in events.Scalars("loss/train")}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_every_call_of_a_closure_is_equal_and_is_logged_once(uddm, config, tmp_path, calls, accumulation) -> None:
    options = ("--model.optimizer.init_args.lr", 0.0, "--trainer.accumulate_grad_batches", accumulation)
    interval = ("--trainer.val_check_interval", 3 * accumulation, "--trainer.max_steps", 3)
    # a rate of 0 keeps the weights, and a tolerance of 0 forces further evaluations
    still = ("--model.optimizer.init_args.tolerance_change", -1.0)
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *LBFGS, *options, *still, *interval, *OFF)
    assert outcome.status == 0, outcome.err
    shown = list(logged(tmp_path / "run").values())
    assert len(shown) == 3
    for step, value in enumerate(shown):
        mine = [loss for at, loss in calls if at == step]
        assert len(mine) > accumulation, "the batch was evaluated several times"
        assert len(set(mine)) == accumulation, "noise or dropout differs between calls"
        assert value == pytest.approx(sum(set(mine)) / accumulation, rel=1e-6)


def test_training_with_closures_resumes_exactly(uddm, config, tmp_path) -> None:
    rate = ("--model.optimizer.init_args.lr", 0.01, "--recovery.enabled", "false", "--basin.enabled", "false")
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert uddm("fit", "-c", config, "--out", once, *LBFGS, *rate).status == 0
    assert uddm("fit", "-c", config, "--out", twice, *LBFGS, *rate, "--trainer.max_steps", 3).status == 0
    outcome = uddm("fit", "-c", twice / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6)
    assert outcome.status == 0, outcome.err
    rows = [
        [{**row, "run": ""} for row in read_table(out / "measurements.csv") if row["step"] == "6"]
        for out in (once, twice)
    ]
    assert rows[0] == rows[1]
