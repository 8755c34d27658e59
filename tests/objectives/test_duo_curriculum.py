"""Duo's curriculum: against the dense relaxation, the plain NELBO, and what it must never depend on."""

import math
from collections.abc import Iterable
from itertools import pairwise
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import Joint, TableBackbone
from uddm_lightning.backbones import DiT, UnigramBackbone
from uddm_lightning.core.batch import Noised, SoftTokens, TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.objectives import NELBO, DuoCurriculum, gaussian_duality
from uddm_lightning.processes import Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, L, EPS = 11, 6, 1e-3


def process(vocab_size: int = V) -> UniformProcess:
    return UniformProcess(vocab_size, LogLinearSchedule(EPS))


def batch(
    x0_BL: Tensor, step: int = 0, quantiles_B: Tensor | None = None, valid_BL: Tensor | None = None
) -> TokenBatch:
    rows_B = torch.arange(len(x0_BL))
    spread_B = (rows_B + 0.5) / len(x0_BL) if quantiles_B is None else quantiles_B
    return TokenBatch(x0_BL, rows_B, rows_B, rows_B + 100, spread_B.double(), valid_BL, None, 0, step)


def text(rows: int = 12) -> Tensor:
    return torch.randint(V, (rows, L), generator=torch.Generator().manual_seed(4))


def network(vocab_size: int = V, **options: object) -> DiT:
    torch.manual_seed(0)
    net = DiT(
        vocab_size, hidden_size=16, n_blocks=1, n_heads=2, cond_dim=8, dropout=0.0, gate_init=1.0, **options
    ).double()
    torch.nn.init.normal_(net.output_layer.linear.weight)
    return net


def times(objective: DuoCurriculum, vocab_size: int) -> tuple[float, float]:
    """Times of the log-linear schedule that have the levels of the curriculum's range."""
    ends = torch.tensor(objective.gammas(vocab_size), dtype=torch.float64)
    t_1, t_2 = ((1 - gaussian_duality.level(ends, vocab_size).alpha) / (1 - EPS)).tolist()
    return t_1, t_2


# --------------------------------------------------------------------------------------------------------- the clock


@pytest.mark.parametrize(("vocab_size", "expected"), [(30_522, (-3.5, -1.75)), (27, (-2.656481, 1.615115))])
def test_the_range_of_gamma_keeps_the_levels_of_the_paper(vocab_size: int, expected: tuple[float, float]) -> None:
    found = DuoCurriculum().gammas(vocab_size)
    assert found == pytest.approx(expected, abs=1e-6)
    levels = gaussian_duality.level(torch.tensor(found, dtype=torch.float64), vocab_size).alpha.tolist()
    assert levels == pytest.approx([0.942, 0.049], abs=5e-4)


def test_a_given_end_is_taken_as_it_is() -> None:
    low, high = DuoCurriculum().gammas(27)
    assert DuoCurriculum(gamma_min=-2.0).gammas(27) == (-2.0, high)
    assert DuoCurriculum(gamma_max=0.0).gammas(27) == (low, 0.0)


def test_quantiles_are_times_on_which_gamma_rises_evenly() -> None:
    objective = DuoCurriculum(gamma_min=-3.0, gamma_max=1.0)
    t = torch.tensor([0.0, 0.25, 1 - 2**-53], dtype=torch.float64)
    noised = objective.corrupt(process(), batch(text(3), quantiles_B=t))
    level = gaussian_duality.level(torch.tensor([-3.0, -2.0, 1.0], dtype=torch.float64), V)
    assert torch.equal(noised.t_B, t)
    torch.testing.assert_close(noised.alpha_B, level.alpha)
    torch.testing.assert_close(noised.slope_B, 4.0 * level.slope)
    assert noised.alpha_B.dtype == noised.slope_B.dtype == torch.float64


def test_the_network_is_told_the_level_of_the_discrete_noise() -> None:
    told = []

    class Listening(TableBackbone):
        def forward(self, tokens: object, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
            told.append(sigma_B)
            return super().forward(text(), sigma_B, valid_BL)

    objective = DuoCurriculum()
    noised = objective.corrupt(process(), batch(text()))
    objective(process(), Listening(V, L), noised)
    torch.testing.assert_close(torch.exp(-told[0]), noised.alpha_B)


# --------------------------------------------------------------------------------------------------------- when


def test_before_start_and_from_end_on_it_is_the_plain_nelbo() -> None:
    objective, plain = DuoCurriculum(t_min=0.05, t_max=0.9, start_step=3, end_step=7), NELBO(t_min=0.05, t_max=0.9)
    for step in range(10):
        found, expected = (one.corrupt(process(), batch(text(), step)) for one in (objective, plain))
        assert (found.soft is not None) == (3 <= step < 7)
        if found.soft is None:
            assert all(torch.equal(a, b) for a, b in zip(found[:5], expected[:5], strict=True))


@pytest.mark.parametrize("padded", [False, True])
def test_a_row_does_not_depend_on_its_micro_batch(padded: bool) -> None:
    """So neither accumulation, ranks, workers nor a restart can change it."""
    objective = DuoCurriculum(tau=0.05, top_k=V)
    valid = torch.arange(L) < (torch.arange(12) % (L + 1))[:, None] if padded else None
    whole = batch(text(), 5, valid_BL=valid)
    for size in (1, 5, 12):
        parts = []
        for start in range(0, 12, size):
            rows = slice(start, start + size)
            part = [value[rows] if isinstance(value, Tensor) else value for value in whole]
            parts.append(objective.corrupt(process(), TokenBatch(*part)))
        once = objective.corrupt(process(), whole)
        assert once.soft is not None
        for field in ("xt_BL", "t_B", "alpha_B", "slope_B"):
            assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(once, field))
        for number, values in enumerate(once.soft):
            assert torch.equal(torch.cat([part.soft[number] for part in parts]), values)


# --------------------------------------------------------------------------------------------------------- inputs


def test_mixtures_are_read_as_the_dense_softmax_times_the_embedding() -> None:
    """Values and the gradient for the embedding, where all ids are kept."""
    objective, net = DuoCurriculum(tau=0.3, top_k=V), network()
    objective.check(process(), net)
    b = batch(text())
    soft = objective.corrupt(process(), b).soft
    assert soft is not None
    low, high = objective.gammas(V)
    gamma_B1 = (low + (high - low) * b.quantiles_B)[:, None]
    found = gaussian_duality.leaders(b.tokens_BL, gamma_B1, gaussian_duality.token_keys(b.keys_B, L), V, V)
    w_BLV = torch.zeros(12, L, V, dtype=torch.float64).scatter(2, found.ids, found.values)
    table = net.vocab_embed.embedding
    direction = torch.randn(12, L, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, dense = net.vocab_embed(soft), torch.softmax(w_BLV / 0.3, 2) @ table
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    one, other = (torch.autograd.grad((x * direction).sum(), table)[0] for x in (ours, dense))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert (ours - net.vocab_embed(b.tokens_BL)).abs().max() > 0.1, "the inputs are really mixed"


@pytest.mark.parametrize("vocab_size", [V, 5000])
def test_without_temperature_it_is_the_plain_nelbo_token_by_token(vocab_size: int) -> None:
    objective, net = DuoCurriculum(tau=1e-12), network(vocab_size)
    noised = objective.corrupt(process(vocab_size), batch(text()))
    assert noised.soft is not None
    hard = noised._replace(soft=None)
    assert (noised.xt_BL != noised.x0_BL).float().mean() > 0.2
    torch.testing.assert_close(net.vocab_embed(noised.soft), net.vocab_embed(noised.xt_BL), rtol=0, atol=0)
    losses = []
    for given, by in ((noised, objective), (hard, NELBO())):
        net.zero_grad()
        total, losses_N = by(process(vocab_size), net, given)
        total.backward()
        losses.append((losses_N, [parameter.grad.clone() for parameter in net.parameters()]))
    (one, its_gradients), (other, other_gradients) = losses
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for a, b in zip(its_gradients, other_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_temperature_betrays_the_clean_token() -> None:
    """The larger it is, the more of x_0 is left in what the network reads."""
    shares = []
    for tau in (1e-12, 1e-2, 1e-1, 1.0):
        noised = DuoCurriculum(tau=tau, top_k=V).corrupt(process(), batch(text(200)))
        assert noised.soft is not None
        changed = noised.xt_BL != noised.x0_BL
        shares.append(float(noised.soft.weights_BLK[..., 0][changed].mean()))
    assert shares[0] == 0.0
    assert all(a < b for a, b in pairwise(shares))


def test_padding_is_read_as_it_is() -> None:
    valid = torch.arange(L) < (torch.arange(12) % (L + 1))[:, None]
    noised = DuoCurriculum(tau=0.5, top_k=V).corrupt(process(), batch(text(), valid_BL=valid))
    assert noised.soft is not None
    assert torch.equal(noised.xt_BL[~valid], noised.x0_BL[~valid])
    assert (noised.soft.weights_BLK[~valid][:, 0] == 1).all()
    assert torch.equal(noised.soft.ids_BLK[..., 0], noised.x0_BL)
    torch.testing.assert_close(noised.soft.weights_BLK.sum(-1), torch.ones(12, L, dtype=torch.float64))


def test_half_precision_reads_mixtures() -> None:
    objective, net = DuoCurriculum(tau=0.3, top_k=V), network().float()
    with torch.autocast("cpu", torch.bfloat16):
        total, losses_N = objective(process(), net, objective.corrupt(process(), batch(text())))
    total.backward()
    assert losses_N.dtype == torch.float32
    assert net.vocab_embed.embedding.grad is not None


# --------------------------------------------------------------------------------------------------------- the bound


def enumerated(world: Joint, noise: UniformProcess, alpha: float, slope: float) -> float:
    """Mean loss of a token over all rows and all noisy rows at a level; predictions change with the level."""
    X, places, ids = len(world.rows_XL), world.L, world.V
    shape = (X, X, places)
    table_XLV = torch.log_softmax(TableBackbone(ids, places)(world.rows_XL, torch.full((X,), -math.log(alpha))), -1)
    loss = noise.nelbo(
        table_XLV.expand(X, *table_XLV.shape).reshape(-1, ids),
        world.rows_XL[:, None].expand(shape).flatten(),
        world.rows_XL[None].expand(shape).flatten(),
        torch.full((X * X * places,), alpha, dtype=torch.float64),
        torch.full((X * X * places,), slope, dtype=torch.float64),
    )
    return float((world.noisy(alpha)[..., None] * loss.view(shape).detach()).sum() / places)


def integrals(objective: DuoCurriculum, world: Joint, noise: UniformProcess) -> tuple[float, float]:
    """Of the loss over the curriculum's clock, and over the schedule's between the same levels."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    quantiles = torch.tensor((nodes + 1) / 2)
    noised = objective.corrupt(noise, batch(world.rows_XL[torch.arange(40) % len(world.rows_XL)], 0, quantiles))
    levels = zip(noised.alpha_B.tolist(), noised.slope_B.tolist(), strict=True)
    ours = sum(w / 2 * enumerated(world, noise, *at) for w, at in zip(weights, levels, strict=True))
    t_1, t_2 = times(objective, noise.vocab_size)
    at_t = noise.level(t_1 + (t_2 - t_1) * quantiles)
    levels = zip(at_t.alpha.tolist(), at_t.slope.tolist(), strict=True)
    theirs = sum(w / 2 * (t_2 - t_1) * enumerated(world, noise, *at) for w, at in zip(weights, levels, strict=True))
    return float(ours), float(theirs)


def test_its_expectation_is_the_nelbo_between_the_same_levels() -> None:
    """Exactly, over all rows and all noise, for predictions that are wrong in their own way at each level."""
    ours, theirs = integrals(DuoCurriculum(), Joint(3, 2, seed=2), process(3))
    assert ours == pytest.approx(theirs, rel=1e-8)
    assert ours > 0.1


def test_drawn_noise_has_that_expectation() -> None:
    objective, world, noise = DuoCurriculum(tau=1e-12), Joint(3, 2, seed=2), process(3)
    expected, _ = integrals(objective, world, noise)
    rows = torch.multinomial(world.p_X, 40_000, replacement=True, generator=torch.Generator().manual_seed(0))
    noised = objective.corrupt(noise, batch(world.rows_XL[rows]))
    losses = objective(noise, TableBackbone(3, 2), noised._replace(soft=None)).tokens_N.view(-1, 2).mean(1)
    error = float(losses.std()) / math.sqrt(len(losses))  # stratified times make it smaller still
    assert abs(float(losses.mean()) - expected) < 4 * error
    assert error < 0.02 * expected


# --------------------------------------------------------------------------------------------------------- the variance


def gradient_variance(losses: Iterable[Tensor], net: DiT) -> float:
    """Total variance of the gradient over draws."""
    gradients = [torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*net.parameters()])]) for loss in losses]
    return float(torch.stack(gradients).var(0).sum())


def test_variance_of_the_gradient_against_the_plain_nelbo() -> None:
    """Of one row and one time, over the same levels. What is true of these noise levels, and not what one may hope.

    At the paper's tau hardly any token is a mixture, so relaxing changes little; and gamma spread
    evenly spends its draws where the level hardly moves, so it is the log-linear clock that is steadier.
    """
    objective, noise, net, draws = DuoCurriculum(), process(), network(), 200
    t_1, t_2 = times(objective, V)
    plain = NELBO(t_min=t_1, t_max=t_2)
    b = batch(text(draws), quantiles_B=torch.arange(draws) * 0.6180339887498949 % 1.0)
    rows = [TokenBatch(*(part[i : i + 1] if isinstance(part, Tensor) else part for part in b)) for i in range(draws)]
    relaxed = [objective.corrupt(noise, row) for row in rows]
    soft = gradient_variance((objective(noise, net, row).total for row in relaxed), net)
    hard = gradient_variance((objective(noise, net, row._replace(soft=None)).total for row in relaxed), net)
    even = gradient_variance(((t_2 - t_1) * plain(noise, net, plain.corrupt(noise, row)).total for row in rows), net)
    assert soft / hard == pytest.approx(1.0, abs=0.1)
    assert 1.0 < soft / even < 2.5


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, r"`tau` must be above 0, got 0\.0\."),
        ({"tau": float("nan")}, r"`tau` must be above 0, got nan\."),
        (
            {"start_step": -1},
            r"`start_step` and `end_step` must satisfy 0 <= start_step < end_step, got -1 and 500000\.",
        ),
        (
            {"start_step": 5, "end_step": 5},
            r"`start_step` and `end_step` must satisfy 0 <= start_step < end_step, got 5 and 5\.",
        ),
        ({"top_k": 1}, r"`top_k` must be at least 2, got 1\."),
        ({"t_min": 2.0}, r"`t_min` and `t_max` must satisfy 0 < t_min < t_max <= 1, got 2\.0 and 1\.0\."),
    ],
)
def test_wrong_numbers_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        DuoCurriculum(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_min": 3.0}, r"`gamma_min` must be below `gamma_max`, got 3\.0 and 2\.\d+ for 11 ids\."),
        ({"gamma_min": -20.0}, r"`gamma_min` = -20\.0 and `gamma_max` = .* mean levels 1 and 0\.048.* for 11 ids"),
        ({"gamma_max": 40.0}, r"`gamma_max` = 40\.0 mean levels 0\.94.* leave both out for 0\.942 and 0\.049"),
        ({"tau": 0.1}, r"`tau` = 0\.1 spreads the weights over more ids than `top_k` = 8: up to .* may\."),
    ],
)
def test_numbers_that_do_not_go_with_the_vocabulary_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DuoCurriculum(**options).check(process(), network())


def test_the_paper_is_accepted() -> None:
    with torch.device("meta"):
        net = DiT(30_522, hidden_size=16, n_blocks=1, n_heads=2)
    DuoCurriculum().check(process(30_522), net)
    DuoCurriculum(gamma_min=-3.5, gamma_max=-1.75).check(process(30_522), net)
    DuoCurriculum(tau=1e30, top_k=V).check(process(), network())


def test_another_process_is_refused() -> None:
    other = create_autospec(Process, instance=True)
    with pytest.raises(
        InputError, match=r"^`model.objective` is DuoCurriculum, .* `model.process` is .*; take `NELBO`"
    ):
        DuoCurriculum().check(other, network())


def test_a_network_without_embedding_is_refused() -> None:
    with pytest.raises(InputError, match=r"^`model.objective` is DuoCurriculum, .* `model.backbone` is Unigram"):
        DuoCurriculum().check(process(), UnigramBackbone(V))


def test_soft_tokens_are_the_last_and_optional_part_of_noised_rows() -> None:
    assert Noised._field_defaults == {"valid_BL": None, "soft": None}
    assert SoftTokens._fields == ("ids_BLK", "weights_BLK")
