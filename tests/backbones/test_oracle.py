"""Oracles, compared with enumeration of every text, and metrics, compared with enumeration for oracles.

The reference values are sums over all V^L texts, without forward-backward or row matching. Each test must also fail for
a wrong oracle, which returns the posterior p(x_0^l | x_t) instead of the leave-one-out prediction. Under the absorbing
process the two are equal; there the wrong oracle assumes uniform noise.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.support.toy_worlds import (
    Joint,
    assert_frequencies,
    chain_kernel,
    expected_nelbo,
    integrated_nelbo,
    prior_gap,
)
from uddm_lightning.backbones import EmpiricalBayesBackbone, MarkovBackbone, Oracle, TextStatistics, UnigramBackbone
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import key
from uddm_lightning.metrics import functional as F
from uddm_lightning.objectives import NELBO
from uddm_lightning.probes import EntropyProbe, NelboProbe, RecoveryProbe
from uddm_lightning.probes.base import MeasuredBatch
from uddm_lightning.processes import AbsorbingProcess, Parameterization, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.stats.markov_chain import MarkovChain

TIMES = (1e-5, 1e-3, 0.1, 0.5, 1.0)


class World(NamedTuple):
    """A distribution of text, as an oracle and as a list of all rows with their probabilities."""

    oracle: Oracle
    joint: Joint
    process: Process

    def predict_rows(self, shown_YL: Tensor, alpha: float) -> Tensor:
        """Return leave-one-out log-probabilities of the oracle for given noisy rows, [x_t row, l, v]."""
        sigma_Y = torch.full((len(shown_YL),), -math.log(alpha), dtype=torch.float64)
        logits_NS = self.oracle(shown_YL, sigma_Y).flatten(0, 1)
        assert logits_NS.shape[1] == self.process.num_states
        alpha_N = torch.full_like(logits_NS[:, 0], alpha)
        logp_NV = self.process.leave_one_out(logits_NS, shown_YL.flatten(), alpha_N, Parameterization.LEAVE_ONE_OUT)
        return logp_NV.view(*shown_YL.shape, -1)

    def predict(self, alpha: float) -> Tensor:
        """Return leave-one-out log-probabilities of the oracle for all noisy rows."""
        return self.predict_rows(self.joint.noisy_YL, alpha)

    @property
    def denoiser(self) -> Denoiser:
        return Denoiser(self.process, self.oracle, Parameterization.LEAVE_ONE_OUT)

    def draw(self, rows: int) -> Tensor:
        """Draw rows of the text, int64 (rows, L)."""
        generator = torch.Generator().manual_seed(11)
        return self.joint.rows_XL[torch.multinomial(self.joint.p_X, rows, replacement=True, generator=generator)]


def posterior_of(kind: type[Oracle]) -> type[Oracle]:
    """Return a wrong oracle class, which multiplies by the likelihood of the token itself."""

    class ByPosterior(kind):  # type: ignore[misc, valid-type]  # the base class is a variable
        @override
        def predict(self, tokens_BL: Tensor, alpha_B: Tensor, noise_B: Tensor, valid_BL: Tensor | None) -> Tensor:
            logp_BLV = super().predict(tokens_BL, alpha_B, noise_B, valid_BL)
            log_ratio_B = torch.log((self.vocab_size * alpha_B + noise_B) / noise_B)
            own_BL1 = log_ratio_B[:, None, None].expand(*tokens_BL.shape, 1)
            return logp_BLV.scatter_add(2, tokens_BL[..., None], own_BL1)

    return ByPosterior


def noise_of(V: int, mask: bool) -> Process:
    return (AbsorbingProcess if mask else UniformProcess)(V, LogLinearSchedule())


def markov(V: int, L: int, wrong: bool = False, mask: bool = False) -> World:
    chain = MarkovChain.random(V, sharpness=1.5, seed=2)
    joint = Joint(V, L, seed=0, mask=mask)
    steps_XL = chain.transition_VV[joint.rows_XL[:, :-1], joint.rows_XL[:, 1:]]
    joint.p_X = chain.initial_V[joint.rows_XL[:, 0]] * steps_XL.prod(1)
    process = noise_of(V, mask)
    oracle = (posterior_of(MarkovBackbone) if wrong else MarkovBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL, torch.full((V,), 1 / V), chain, process.mask_id))
    return World(oracle, joint, process)


def memory(V: int, L: int, n: int = 5, wrong: bool = False, mask: bool = False) -> World:
    joint = Joint(V, L, seed=0, mask=mask)
    places = torch.randperm(len(joint.rows_XL), generator=torch.Generator().manual_seed(3))[:n]
    joint.p_X = torch.zeros_like(joint.p_X).index_fill(0, places, 1 / n)
    process = noise_of(V, mask)
    oracle = (posterior_of(EmpiricalBayesBackbone) if wrong else EmpiricalBayesBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL[places], torch.full((V,), 1 / V), mask_id=process.mask_id))
    return World(oracle, joint, process)


def unigram(V: int, L: int, wrong: bool = False, mask: bool = False) -> World:
    f_V = torch.softmax(torch.arange(V, dtype=torch.float64), 0)
    joint = Joint(V, L, seed=0, mask=mask)
    joint.p_X = f_V[joint.rows_XL].prod(1)
    process = noise_of(V, mask)
    oracle = (posterior_of(UnigramBackbone) if wrong else UnigramBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL, f_V, mask_id=process.mask_id))
    return World(oracle, joint, process)


WORLDS = {"markov": markov, "empirical Bayes": memory, "unigram": unigram}
every_world = pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
every_noise = pytest.mark.parametrize("mask", [False, True], ids=["uniform", "absorbing"])


# ------------------------------------------------------------------------------------------------------- predictions


def assert_exact_predictions(world: World, shown_YL: Tensor) -> None:
    """Assert that predictions for given noisy rows equal the sum over all texts, to 1e-6."""
    joint, n_compared = world.joint, 0
    for t in TIMES:
        alpha = float(world.process.level(torch.tensor(t, dtype=torch.float64)).alpha)
        factors = joint.factors(alpha, shown_YL)
        predicted_p = world.predict_rows(shown_YL, alpha).exp()
        for place in range(joint.L):
            others = [m for m in range(joint.L) if m != place]
            weight = joint.p_X[:, None] * factors[..., others].prod(-1)
            by_id = torch.stack([weight[joint.rows_XL[:, place] == v].sum(0) for v in range(joint.V)], 1)
            total = by_id.sum(1, keepdim=True)
            predicted = world.process.prediction_mask(shown_YL[:, place]) & (total[:, 0] > 0)
            exact = (by_id / total)[predicted]
            torch.testing.assert_close(predicted_p[:, place][predicted], exact, rtol=0, atol=1e-6)
            n_compared += len(exact)
    assert n_compared >= 5


@every_noise
@every_world
@pytest.mark.parametrize(("V", "L"), [(2, 2), (3, 4), (8, 3), (8, 4)])
def test_predictions_are_those_of_enumeration(make: Callable[..., World], V: int, L: int, mask: bool) -> None:
    world = make(V, L, mask=mask)
    few = torch.randperm(len(world.joint.noisy_YL), generator=torch.Generator().manual_seed(1))[:40]
    assert_exact_predictions(world, world.joint.noisy_YL[few])


def test_oracle_that_ignores_masks_fails() -> None:
    world = memory(3, 4, mask=True)
    world.oracle.mask_id = None
    with pytest.raises(AssertionError, match="not close"):
        assert_exact_predictions(world, world.joint.noisy_YL)


def test_empirical_bayes_uses_the_nearest_rows_if_no_row_matches() -> None:
    oracle = EmpiricalBayesBackbone(4)
    oracle.prepare(
        TextStatistics(lambda: torch.tensor([[0, 1, 2], [0, 2, 1], [1, 1, 1]]), torch.ones(3) / 3, mask_id=3)
    )
    predicted_p = torch.softmax(oracle(torch.tensor([[3, 0, 1], [0, 0, 3]]), torch.ones(2).double()), -1)
    torch.testing.assert_close(predicted_p[0, 0], torch.tensor([0.5, 0.5, 0, 0]).double())
    torch.testing.assert_close(predicted_p[1, 2], torch.tensor([0, 0.5, 0.5, 0]).double())


@every_world
def test_posterior_instead_of_leave_one_out_fails(make: Callable[..., World]) -> None:
    world = make(3, 4, wrong=True)
    with pytest.raises(AssertionError, match="not close"):
        assert_exact_predictions(world, world.joint.rows_XL)


@every_world
def test_padding_is_ignored(make: Callable[..., World]) -> None:
    """The prediction for a padded row is that of its valid prefix."""
    world, alpha = make(3, 4), 0.6
    joint, shown = world.joint, torch.tensor([[0, 1, 2, 2], [2, 2, 1, 0]])
    valid = torch.tensor([[True, True, False, False]] * 2)
    sigma = torch.full((2,), -math.log(alpha), dtype=torch.float64)
    predicted_p = torch.softmax(world.oracle(shown, sigma, valid), -1)
    masked = make(3, 4, mask=True)
    beginning = torch.tensor([[3, 1, 3, 3]])
    padded, open_end = (
        masked.oracle(tokens, sigma[:1], keep)[0, 0]
        for tokens, keep in ((torch.tensor([[3, 1, 0, 2]]), valid[:1]), (beginning, None))
    )
    torch.testing.assert_close(torch.softmax(padded, -1), torch.softmax(open_end, -1))
    miss = (1 - alpha) / 3
    for row in (0, 1):
        for place in (0, 1):
            other = 1 - place
            factor = torch.where(joint.rows_XL[:, other] == shown[row, other], alpha + miss, miss)
            weight = joint.p_X * factor
            exact = torch.stack([weight[joint.rows_XL[:, place] == v].sum() for v in range(3)])
            torch.testing.assert_close(predicted_p[row, place], exact / exact.sum())


def test_duplicate_training_rows_count_twice() -> None:
    rows = torch.tensor([[0, 1], [0, 1], [2, 2]])
    oracle = EmpiricalBayesBackbone(3)
    oracle.prepare(TextStatistics(lambda: rows, torch.ones(3) / 3))
    blank = torch.softmax(oracle(torch.tensor([[1, 0]]), torch.tensor([60.0], dtype=torch.float64)), -1)
    torch.testing.assert_close(blank[0, 0], torch.tensor([2 / 3, 0, 1 / 3], dtype=torch.float64))


def test_chunks_of_training_rows_give_equal_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    world = memory(4, 3, n=30)
    whole = world.predict(0.7)
    monkeypatch.setattr("uddm_lightning.backbones.empirical_bayes.CHUNK_ELEMENTS", 64 * 3 * 7)
    torch.testing.assert_close(world.predict(0.7), whole)


def test_markov_backbone_without_a_chain_error() -> None:
    with pytest.raises(InputError, match="MarkovBackbone, which needs text of a known distribution: `data"):
        MarkovBackbone(3).prepare(TextStatistics(lambda: torch.zeros(1, 2).long(), torch.ones(3) / 3))


# ------------------------------------------------------------------------------------------------------- likelihood


def assert_exact_nelbo(world: World) -> None:
    """Assert that the NELBO over all t plus the gap of the prior is the exact NLL, to 1e-4 nats per row."""
    bound = integrated_nelbo(world.process, world.joint, world.predict) + prior_gap(world.process, world.joint)
    assert bound == pytest.approx(world.joint.entropy, abs=1e-4)


@every_noise
@pytest.mark.parametrize(("make", "L"), [(markov, 3), (memory, 4), (unigram, 3)], ids=WORLDS)
def test_nelbo_is_the_exact_likelihood(make: Callable[..., World], L: int, mask: bool) -> None:
    assert_exact_nelbo(make(3, L, mask=mask))


@pytest.mark.parametrize("world", [markov(3, 3, True), memory(3, 4, wrong=True), unigram(3, 3, True)], ids=WORLDS)
def test_nelbo_of_the_posterior_fails(world: World) -> None:
    with pytest.raises(AssertionError):
        assert_exact_nelbo(world)


@every_noise
def test_nelbo_of_empirical_bayes_is_ln_n_nats_per_row(mask: bool) -> None:
    world = memory(4, 3, n=7, mask=mask)
    bound = integrated_nelbo(world.process, world.joint, world.predict) + prior_gap(world.process, world.joint)
    assert bound == pytest.approx(math.log(7), abs=1e-4)


# ------------------------------------------------------------------------------------------------- through the probes


class Measured(NamedTuple):
    """Records of the probes for an oracle."""

    recovery: dict[str, float]
    entropy: dict[str, float]
    nelbo: dict[str, float]


def measured(world: World, rows: int, t: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Run three probes on rows of the text without a trainer."""
    f_V = torch.stack([(world.joint.p_X[:, None] * (world.joint.rows_XL == v)).sum() for v in range(world.joint.V)])
    monkeypatch.setattr(
        "uddm_lightning.probes.recovery.data_of", lambda trainer: SimpleNamespace(unigram=f_V / world.joint.L)
    )
    monkeypatch.setattr("uddm_lightning.probes.nelbo.data_of", lambda trainer: SimpleNamespace(unigram_entropy=1.0))
    numbers = torch.arange(rows)
    task = SimpleNamespace(
        process=world.process,
        sampler=AncestralSampler(steps=steps),
        objective=NELBO(t_min=1e-3),
        device=torch.device("cpu"),
        trainer=None,
        parameter_count=0,
    )
    text_BL = world.draw(rows)
    batch = TokenBatch(
        tokens_BL=text_BL,
        rows_B=numbers,
        places_B=numbers,
        keys_B=key(7, numbers),
        quantiles_B=numbers / rows,
        valid_BL=None,
        special_BL=None,
        seed=0,
        step=0,
    )
    counted_BL = torch.ones_like(text_BL).bool()
    at = MeasuredBatch(cast(Any, task), world.denoiser, batch, counted_BL, "test", "ema", {})
    found = []
    for probe in (RecoveryProbe(times=[t]), EntropyProbe(times=[t]), NelboProbe()):
        probe.measure(at)
        found.append(next(iter(probe.compute_records(cast(Any, task)))))
    return Measured(*(cast(dict[str, float], record) for record in found))


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


@every_world
def test_entropy_of_every_token_equals_enumeration(make: Callable[..., World]) -> None:
    world = make(3, 4)
    for alpha in (0.9995, 0.7, 0.1):
        ours = F.entropy(world.predict(alpha).reshape(-1, 3)).view(-1, 4)
        theirs = torch.special.entr(world.joint.leave_one_out(alpha)).sum(-1)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- samples


def assert_drawn_from(counts: Tensor, probabilities: Tensor) -> None:
    """Apply a chi-square test, with all rare outcomes pooled."""
    likely = probabilities * counts.sum() >= 8
    pooled = [torch.cat([values[likely], values[~likely].sum()[None]]) for values in (counts, probabilities)]
    if pooled[1][-1] * counts.sum() < 5:
        assert pooled[0][-1] < 30
        pooled = [values[:-1] for values in pooled]
    assert_frequencies(*pooled)


def assert_samples_follow_the_text(world: World) -> None:
    """Assert that the chain from pure noise samples the text, up to the error of finite steps."""
    rows, joint, sampler = 6000, world.joint, AncestralSampler(steps=150)
    kernel_YX = chain_kernel(world.process, joint, lambda alpha: joint.leave_one_out(alpha).log(), sampler.grid(1.0))
    ends_X = kernel_YX[joint.code(world.process.sample_prior(joint.rows_XL), noisy=True)].mean(0)
    assert 0.5 * (ends_X - joint.p_X).abs().sum() < 0.02
    start = torch.randint(joint.V, (rows, joint.L), generator=torch.Generator().manual_seed(5))
    start = world.process.sample_prior(start)
    ends = sampler(world.denoiser, start, 1.0, key(9, torch.arange(rows)))
    assert_drawn_from(torch.bincount(joint.code(ends), minlength=len(joint.p_X)), ends_X)


@every_noise
@pytest.mark.parametrize(("make", "V"), [(markov, 3), (memory, 3), (unigram, 2)], ids=WORLDS)
def test_samples_follow_the_text(make: Callable[..., World], V: int, mask: bool) -> None:
    assert_samples_follow_the_text(make(V, 3, mask=mask))


@pytest.mark.parametrize("world", [markov(3, 3, True), unigram(2, 3, True)], ids=["markov", "unigram"])
def test_samples_of_the_posterior_fail(world: World) -> None:
    with pytest.raises(AssertionError):
        assert_samples_follow_the_text(world)


# ------------------------------------------------------------------------------------------------------- the text


def test_markov_chain_is_stationary_and_draws_its_rows() -> None:
    chain = MarkovChain.random(3, sharpness=1.5, seed=4)
    torch.testing.assert_close(chain.transition_VV.sum(1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(chain.initial_V @ chain.transition_VV, chain.initial_V)
    joint = Joint(3, 4, seed=0)
    rows = chain.sample(torch.arange(20_000), 4)
    p_X = chain.initial_V[joint.rows_XL[:, 0]] * chain.transition_VV[joint.rows_XL[:, :-1], joint.rows_XL[:, 1:]].prod(
        1
    )
    likely = p_X * 20_000 >= 8
    counts = torch.bincount(joint.code(rows), minlength=81)
    assert_frequencies(
        torch.cat([counts[likely], counts[~likely].sum()[None]]), torch.cat([p_X[likely], p_X[~likely].sum()[None]])
    )
    assert torch.equal(chain.sample(torch.tensor([17, 3]), 4), rows[[17, 3]]), "a row is a function of its key"


def test_renumbering_keeps_the_transitions() -> None:
    chain = MarkovChain.random(3, sharpness=1.5, seed=4)
    other = chain.relabel([2, 0, 3], vocab_size=4)
    assert float(other.initial_V[1]) == 0.0
    torch.testing.assert_close(other.transition_VV[2, 3], chain.transition_VV[0, 2])
    torch.testing.assert_close(other.initial_V @ other.transition_VV, other.initial_V)


def test_sharpness_ranges_from_uniform_to_deterministic() -> None:
    flat, sharp = (MarkovChain.random(5, sharpness, seed=0).transition_VV for sharpness in (0.0, 50.0))
    torch.testing.assert_close(flat, torch.full((5, 5), 0.2, dtype=torch.float64))
    assert (sharp.amax(1) > 0.9).all()


def test_expected_nelbo_of_the_posterior_is_larger() -> None:
    """Check the reference: at one t, the loss of the oracle is below that of the posterior."""
    right, wrong = markov(3, 3), markov(3, 3, wrong=True)
    alpha = float(right.process.level(torch.tensor(0.4, dtype=torch.float64)).alpha)
    losses = [expected_nelbo(world.process, world.joint, world.predict(alpha), 0.4) for world in (right, wrong)]
    assert losses[0] < losses[1] - 0.1
