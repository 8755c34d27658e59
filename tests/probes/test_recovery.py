"""Reference levels of recovery (Bayes argmax, coincidence) and error rates before and after the chain.

The expected values come from enumeration of every text, every noisy text and every final state of the chain.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests.support.oracle_worlds import World, every_noise, markov, measured, memory, unigram
from tests.support.toy_worlds import chain_kernel
from uddm_lightning.samplers import AncestralSampler

STEPS = 12


class Outcome(NamedTuple):
    """Share of corrupted tokens recovered, share of clean tokens changed, and error rates before and after a chain."""

    recovered: float
    changed: float
    errors_before: float
    errors_after: float


def alpha_at(world: World, t: float) -> float:
    return float(world.process.level(torch.tensor(t, dtype=torch.float64)).alpha)


def chain_outcome(world: World, t: float, kernel_YX: Tensor) -> Outcome:
    """Return the expected outcome of a chain that maps noisy row Y to row X with probability `kernel_YX`."""
    joint = world.joint
    weight_XY = joint.noisy(alpha_at(world, t))
    corrupted = recovered = clean = changed = 0.0
    for place in range(joint.L):
        column_X = joint.rows_XL[:, place]
        wrong_XY = (column_X[:, None] != joint.noisy_YL[:, place]).double() * weight_XY
        right_XY = torch.stack([kernel_YX[:, column_X == v].sum(1) for v in range(joint.V)], 1)[:, column_X].T
        corrupted += float(wrong_XY.sum())
        recovered += float((wrong_XY * right_XY).sum())
        clean += float((weight_XY - wrong_XY).sum())
        changed += float(((weight_XY - wrong_XY) * (1 - right_XY)).sum())
    before, after = corrupted / (corrupted + clean), (corrupted - recovered + changed) / (corrupted + clean)
    return Outcome(recovered / corrupted, changed / clean, before, after)


def chain(world: World, t: float, power: float = 1.0) -> Outcome:
    """Return the outcome of the reverse chain with exact predictions raised to a power."""

    def predict(alpha: float) -> Tensor:
        return (power * world.joint.leave_one_out(alpha).log()).log_softmax(-1)

    return chain_outcome(
        world, t, chain_kernel(world.process, world.joint, predict, AncestralSampler(steps=STEPS).grid(t))
    )


def best_recovery(world: World, t: float) -> float:
    """Return the largest recovery of any estimate from the noisy row."""
    joint = world.joint
    weight_XY = joint.noisy(alpha_at(world, t))
    best = corrupted = 0.0
    for place in range(joint.L):
        column_X, noisy_Y = joint.rows_XL[:, place], joint.noisy_YL[:, place]
        wrong_XY = (column_X[:, None] != noisy_Y).double() * weight_XY
        by_id = torch.stack([wrong_XY[column_X == v].sum(0) for v in range(joint.V)], 1)
        best += float(by_id.amax(1).sum())
        corrupted += float(wrong_XY.sum())
    return best / corrupted


@every_noise
@pytest.mark.parametrize("make", [markov, memory], ids=["markov", "empirical Bayes"])
@pytest.mark.parametrize("t", [0.1, 0.5])
def test_bayes_argmax_is_the_recovery_of_the_best_estimate(make: Callable[..., World], t: float, mask: bool) -> None:
    world = make(3, 3, mask=mask)
    joint, process = world.joint, world.process
    logp_NV = world.predict(alpha_at(world, t)).flatten(0, 1)
    largest_YL = process.bayes_argmax(logp_NV, joint.noisy_YL.flatten()).view_as(joint.noisy_YL)
    wrong_XYL = joint.noisy(alpha_at(world, t))[..., None] * (joint.rows_XL[:, None] != joint.noisy_YL)
    level = float(torch.nansum(wrong_XYL * largest_YL) / wrong_XYL.sum())
    assert level == pytest.approx(best_recovery(world, t), abs=1e-6)


@pytest.mark.parametrize("t", [0.1, 0.5])
def test_sharpened_predictions_recover_more_and_change_more_clean_tokens(t: float) -> None:
    """Recovery is not a proper score: the chain of exact predictions is not an upper bound."""
    world = markov(4, 4)
    exact, squared = chain(world, t), chain(world, t, power=2.0)
    assert squared.recovered > exact.recovered + 0.02
    assert squared.recovered < best_recovery(world, t), "the best estimate is an upper bound"
    if t < 0.5:
        assert squared.changed > exact.changed
    assert exact.errors_before == squared.errors_before


@every_noise
@pytest.mark.parametrize("t", [0.1, 0.5])
def test_coincidence_is_the_recovery_of_unrelated_text(t: float, mask: bool) -> None:
    world = unigram(3, 3, mask=mask)
    joint = world.joint
    f_V = torch.softmax(torch.arange(3, dtype=torch.float64), 0)
    unrelated_YX = joint.p_X.expand(len(joint.noisy_YL), -1)
    level = world.process.coincidence(f_V, f_V, argmax=False)
    assert level == pytest.approx(float((f_V**2).sum()))
    assert level == pytest.approx(chain_outcome(world, t, unrelated_YX).recovered, abs=1e-9)
    argmax_YX = (joint.rows_XL == f_V.argmax()).all(1).double().expand(len(joint.noisy_YL), -1)
    level = world.process.coincidence(f_V, f_V, argmax=True)
    assert level == pytest.approx(float(f_V.max()))
    assert level == pytest.approx(chain_outcome(world, t, argmax_YX).recovered, abs=1e-9)
    # rows of uniform random tokens
    flat_V = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert world.process.coincidence(f_V, flat_V, argmax=False) == pytest.approx(1 / 3)
    assert world.process.coincidence(f_V, flat_V, argmax=True) == pytest.approx(1 / 3)


@every_noise
@pytest.mark.parametrize("t", [0.25])
def test_probe_measures_the_enumerated_levels(t: float, mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world, rows = markov(3, 4, mask=mask), 4000
    found = measured(world, rows, t, STEPS, monkeypatch).recovery
    exact = chain(world, t)
    for name, value in exact._asdict().items():
        column = {"recovered": "recovery", "changed": "clean_change_rate"}.get(name, name)
        assert found[column] == pytest.approx(value, abs=4 * 0.5 / (rows * 4 * 0.25) ** 0.5), column
    assert found["bayes_argmax"] == pytest.approx(best_recovery(world, t), abs=0.01)
    assert found["recovery"] < found["bayes_argmax"]
    marginals = torch.stack([(world.joint.p_X[:, None] * (world.joint.rows_XL == v)).sum() for v in range(3)]) / 4
    assert found["coincidence"] == pytest.approx(float((marginals**2).sum()))


def test_bayes_argmax_is_nan_without_the_exact_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The empirical Bayes backbone is exact on train rows only."""
    found = measured(memory(3, 4), 50, 0.5, STEPS, monkeypatch).recovery
    assert found["bayes_argmax"] != found["bayes_argmax"], "measured on test rows"


def test_is_argmax() -> None:
    assert not AncestralSampler().is_argmax
    assert AncestralSampler(decoding="argmax").is_argmax
    assert AncestralSampler(noise_removal="argmax").is_argmax
