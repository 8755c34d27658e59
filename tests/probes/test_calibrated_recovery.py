"""Recovery at the fitted temperature, against enumeration of every state of the chain."""

import math
from typing import Any

import pytest
import torch

from tests.probes.test_recovery import STEPS, chain
from tests.support.oracle_worlds import World, batch_of, markov, task_of
from uddm_lightning.metrics.temperature import TEMPERATURES
from uddm_lightning.probes import RecoveryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.batch_notes import BatchNotes

ROWS, T = 1500, 0.25


def records(world: World, temperature: float, **options: Any) -> dict[tuple[str, float], dict[str, Any]]:
    """Records by split and t of a model whose predictions are exact ones raised to 1 / temperature."""
    task, batch = task_of(world, AncestralSampler(steps=STEPS)), batch_of(world.draw(ROWS))
    denoiser, counted_BL = world.denoiser.at_temperature(temperature), torch.ones_like(batch.tokens_BL).bool()
    probe = RecoveryProbe(times=[T, 0.75], **options)
    for split in ("train", "test", "random"):
        probe.measure(MeasuredBatch(task, denoiser, batch, counted_BL, split, "ema", BatchNotes()))
    return {(record["split"], record["t"]): record for record in probe.compute_records(task)}


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_tempered_exact_model_gets_its_temperature_and_its_recovery_back(temperature: float) -> None:
    world = markov(3, 4)
    found = records(world, temperature, calibrate=True)
    noise = 4 * 0.5 / (ROWS * 4 * T) ** 0.5
    assert found["test", T]["recovery"] == pytest.approx(chain(world, T, 1 / temperature).recovered, abs=noise)
    for split in ("train", "test"):
        one = found[split, T]
        assert one["temperature"] == pytest.approx(1 / temperature, rel=0.1)
        assert one["recovery_calibrated"] == pytest.approx(chain(world, T).recovered, abs=noise)
        assert one["recovery_calibrated_low"] < one["recovery_calibrated"] < one["recovery_calibrated_high"]
    assert "temperature" not in found["random", T]
    assert "temperature" not in found["test", 0.75]


def test_it_is_off_by_default() -> None:
    assert not any("temperature" in one for one in records(markov(3, 4), 1.0).values())


def test_the_summary_says_when_no_temperature_fits() -> None:
    record = {"split": "test", "t": 0.1, "temperature": 1.5, "recovery_calibrated": 0.25}
    found = RecoveryProbe().summary_lines([record])[-1]
    assert found == "   recovery of test rows at the fitted temperature 1.5 and t = 0.1: 0.250"
    found = RecoveryProbe().summary_lines([{**record, "temperature": math.nan, "recovery_calibrated": math.nan}])[-1]
    assert found.endswith(f"none from 1/{1 / TEMPERATURES[0]:g} to {TEMPERATURES[-1]:g} fits test rows at t = 0.1")
