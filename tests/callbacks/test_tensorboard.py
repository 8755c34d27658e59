"""TensorBoard shows each step of a run once, even if the run was stopped several times."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

KINDS = ("scalars", "images", "histograms")  # this reader drops text that is no longer shown


def shown(out: Path) -> dict[str, list[int]]:
    """Return the steps by tag, in the order of TensorBoard."""
    events = EventAccumulator(str(out), size_guidance=dict.fromkeys(KINDS, 0))
    events.Reload()
    tags = events.Tags()
    read = {"scalars": events.Scalars, "images": events.Images, "histograms": events.Histograms}
    found = {f"{kind}/{tag}": [event.step for event in read[kind](tag)] for kind in KINDS for tag in tags[kind]}
    # a histogram has one entry per t under one tag, and hyperparameters have no step
    return {tag: steps for tag, steps in found.items() if "margin" not in tag and "hparams" not in tag}


@pytest.fixture
def few() -> tuple[str, ...]:
    return ("--trainer.max_steps=9", "--basin.enabled=false", "--samples.enabled=false", "--trajectory.enabled=false")


def test_steps_that_are_trained_again_are_shown_once(uddm, config, tmp_path, few) -> None:
    out = tmp_path / "run"
    assert uddm("fit", "-c", config, "--out", out, *few).status == 0
    calm = shown(out)
    assert calm["scalars/loss/train"] == list(range(1, 10)), "the loss of a step stands where its measurement does"
    assert calm["scalars/recovery/test/t=0.1"] == [3, 6, 9]
    assert uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "previous").status == 0
    assert len(list(out.glob("events.*"))) > 1
    again = shown(out)
    assert {tag: steps for tag, steps in again.items() if "custom_scalars" not in tag} == {
        tag: steps for tag, steps in calm.items() if "custom_scalars" not in tag
    }


def test_a_restarted_run_shows_no_steps_of_the_first_attempt(uddm, config, tmp_path, few) -> None:
    out = tmp_path / "run"
    broken = ("--model.optimizer.init_args.lr", 1e30, "--model.lr_schedule.init_args.warmup_steps", 1)
    assert uddm("fit", "-c", config, "--out", out, *few, *broken).status == 1
    assert uddm("fit", "-c", config, "--out", out, *few).status == 0
    for tag, steps in shown(out).items():
        assert steps == sorted(set(steps)), tag
    assert shown(out)["scalars/loss/train"] == list(range(1, 10))
