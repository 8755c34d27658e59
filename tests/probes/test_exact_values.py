"""Values that probes measure on oracles, compared with exact values by enumeration."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from tests.support.oracle_worlds import World, every_noise, every_world, measured, memory
from tests.support.toy_worlds import chain_kernel, integrated_nelbo
from uddm_lightning.backbones import UnigramBackbone
from uddm_lightning.samplers import AncestralSampler


class Exact(NamedTuple):
    """Expected values by enumeration of every text, every noisy text and every final state of the chain."""

    recovery: float
    changed: float
    entropy: float
    entropy_corrupted: float
    entropy_recovered: float
    entropy_unrecovered: float
    entropy_leave_one_out: float
    nelbo: float


def exact(world: World, t: float, steps: int) -> Exact:
    joint, process, L = world.joint, world.process, world.joint.L
    times = AncestralSampler(steps=steps).grid(t)
    kernel_YX = chain_kernel(process, joint, lambda alpha: joint.leave_one_out(alpha).log(), times)
    alpha = float(process.level(torch.tensor(t, dtype=torch.float64)).alpha)
    entropy_YL = torch.special.entr(joint.leave_one_out(alpha)).sum(-1)
    rows_XL, noisy_YL = joint.rows_XL, joint.noisy_YL
    weight_XY = joint.noisy(alpha)  # [x_0, x_t]
    predicted_YL = process.prediction_mask(noisy_YL) * weight_XY.sum(0)[:, None]
    total = dict.fromkeys(("corrupted", "recovered", "clean", "changed", "h", "h_recovered", "h_unrecovered"), 0.0)
    for place in range(L):
        column_X = rows_XL[:, place]
        changed_XY = (column_X[:, None] != noisy_YL[:, place]).double() * weight_XY
        # probability that the chain restores the token of x_0, [x_0, x_t]
        right_XY = torch.stack([kernel_YX[:, column_X == v].sum(1) for v in range(joint.V)], 1)[:, column_X].T
        total["corrupted"] += float(changed_XY.sum())
        total["recovered"] += float((changed_XY * right_XY).sum())
        kept_XY = weight_XY - changed_XY
        total["clean"] += float(kept_XY.sum())
        total["changed"] += float((kept_XY * (1 - right_XY)).sum())
        h_Y = entropy_YL[:, place]
        total["h"] += float((changed_XY * h_Y).sum())
        total["h_recovered"] += float((changed_XY * right_XY * h_Y).sum())
        total["h_unrecovered"] += float((changed_XY * (1 - right_XY) * h_Y).sum())
    low = float(process.level(torch.tensor(1e-3, dtype=torch.float64)).alpha)
    clean_XL = torch.special.entr(joint.leave_one_out(low, rows_XL)).sum(-1)
    bound = integrated_nelbo(process, joint, lambda alpha: joint.leave_one_out(alpha).log(), t_min=1e-3)
    return Exact(
        recovery=total["recovered"] / total["corrupted"],
        changed=total["changed"] / total["clean"],
        entropy=float((predicted_YL * entropy_YL).sum() / predicted_YL.sum()),
        entropy_corrupted=total["h"] / total["corrupted"],
        entropy_recovered=total["h_recovered"] / total["recovered"],
        entropy_unrecovered=total["h_unrecovered"] / (total["corrupted"] - total["recovered"]),
        entropy_leave_one_out=float((joint.p_X[:, None] * clean_XL).sum()) / L,
        nelbo=bound / L / (1 - 1e-3),
    )


def assert_exact_measurements(world: World, t: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that every measured mean is within three standard errors of the expected value."""
    steps = 10
    found, truth = measured(world, 4000, t, steps, monkeypatch), exact(world, t, steps)
    recovery, entropy, nelbo = found
    for value, low, high, expected in (
        (recovery["recovery"], recovery["recovery_low"], recovery["recovery_high"], truth.recovery),
        (entropy["entropy"], entropy["entropy_low"], entropy["entropy_high"], truth.entropy),
        (nelbo["nelbo"], nelbo["nelbo_low"], nelbo["nelbo_high"], truth.nelbo),
    ):
        assert abs(value - expected) <= 3 * (high - low) / (2 * 1.96) + 1e-9, (value, low, high, expected)
    corrupted, clean = recovery["n_corrupted"], recovery["n_clean"]
    if type(world.oracle) is UnigramBackbone:  # chance is the recovery of this model
        assert abs(recovery["chance"] - truth.recovery) < 4 * 0.5 / math.sqrt(corrupted)
    assert abs(recovery["clean_change_rate"] - truth.changed) < 4 * math.sqrt(0.25 / clean)
    largest = math.log(world.joint.V)
    share = recovery["recovery"]
    for name, count in (
        ("entropy_corrupted", corrupted),
        ("entropy_recovered", corrupted * share),
        ("entropy_unrecovered", corrupted * (1 - share)),
        ("entropy_leave_one_out", 4000 * (world.joint.L if world.process.mask_id is None else 1)),
    ):
        assert abs(entropy[name] - getattr(truth, name)) < 4 * 0.5 * largest / math.sqrt(count), name
    assert entropy["self_token_influence"] < 1e-9
    if world.process.mask_id is not None:
        assert recovery["n_clean_changed"] == 0
        assert entropy["self_token_influence"] == 0
        assert math.isnan(entropy["entropy_clean"])
        assert entropy["entropy"] == entropy["entropy_corrupted"]


@pytest.mark.parametrize("t", [0.1, 0.5])
@every_noise
@every_world
def test_probes_measure_the_enumerated_values(
    make: Callable[..., World], mask: bool, t: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_exact_measurements(make(3, 3, mask=mask), t, monkeypatch)


def test_measurements_of_an_oracle_that_ignores_masks_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    world = memory(3, 3, mask=True)
    world.oracle.mask_id = None
    with pytest.raises(AssertionError):
        assert_exact_measurements(world, 0.5, monkeypatch)


@every_world
def test_measurements_of_the_posterior_fail(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        assert_exact_measurements(make(3, 3, wrong=True), 0.5, monkeypatch)
