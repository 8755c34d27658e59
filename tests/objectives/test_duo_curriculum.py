"""Curriculum of Duo, compared with the dense relaxation and the plain NELBO."""

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
from uddm_lightning.core.batch import Noised, NoisyTokens, SoftTokens, TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.objectives import NELBO, DuoCurriculum, gaussian_duality
from uddm_lightning.processes import Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, L, EPS = 11, 6, 1e-3


def make_process(vocab_size: int = V) -> UniformProcess:
    return UniformProcess(vocab_size, LogLinearSchedule(EPS))


def make_batch(
    x0_BL: Tensor, step: int = 0, quantiles_B: Tensor | None = None, valid_BL: Tensor | None = None
) -> TokenBatch:
    rows_B = torch.arange(len(x0_BL))
    spread_B = (rows_B + 0.5) / len(x0_BL) if quantiles_B is None else quantiles_B
    return TokenBatch(x0_BL, rows_B, rows_B, rows_B + 100, spread_B.double(), valid_BL, None, 0, step)


def random_text(rows: int = 12) -> Tensor:
    return torch.randint(V, (rows, L), generator=torch.Generator().manual_seed(4))


def make_backbone(vocab_size: int = V, **options: object) -> DiT:
    torch.manual_seed(0)
    net = DiT(
        vocab_size, hidden_size=16, n_blocks=1, n_heads=2, cond_dim=8, dropout=0.0, gate_init=1.0, **options
    ).double()
    torch.nn.init.normal_(net.output_layer.linear.weight)
    return net


def times(objective: DuoCurriculum, vocab_size: int) -> tuple[float, float]:
    """Return the times of the log-linear schedule with the levels of the range of gamma."""
    ends = torch.tensor(objective.gamma_range(vocab_size), dtype=torch.float64)
    t_1, t_2 = ((1 - gaussian_duality.noise_level(ends, vocab_size).alpha) / (1 - EPS)).tolist()
    return t_1, t_2


# --------------------------------------------------------------------------------------------------------- the clock


@pytest.mark.parametrize(("vocab_size", "expected"), [(30_522, (-3.5, -1.75)), (27, (-2.656481, 1.615115))])
def test_default_gamma_range_has_the_levels_of_the_paper(vocab_size: int, expected: tuple[float, float]) -> None:
    found = DuoCurriculum().gamma_range(vocab_size)
    assert found == pytest.approx(expected, abs=1e-6)
    levels = gaussian_duality.noise_level(torch.tensor(found, dtype=torch.float64), vocab_size).alpha.tolist()
    assert levels == pytest.approx([0.942, 0.049], abs=5e-4)


def test_given_gamma_is_used_unchanged() -> None:
    low, high = DuoCurriculum().gamma_range(27)
    assert DuoCurriculum(gamma_min=-2.0).gamma_range(27) == (-2.0, high)
    assert DuoCurriculum(gamma_max=0.0).gamma_range(27) == (low, 0.0)


def test_gamma_is_linear_in_the_quantiles() -> None:
    objective = DuoCurriculum(gamma_min=-3.0, gamma_max=1.0)
    t = torch.tensor([0.0, 0.25, 1 - 2**-53], dtype=torch.float64)
    noised = objective.corrupt(make_process(), make_batch(random_text(3), quantiles_B=t))
    level = gaussian_duality.noise_level(torch.tensor([-3.0, -2.0, 1.0], dtype=torch.float64), V)
    assert torch.equal(noised.t_B, t)
    torch.testing.assert_close(noised.alpha_B, level.alpha)
    torch.testing.assert_close(noised.slope_B, 4.0 * level.slope)
    assert noised.alpha_B.dtype == noised.slope_B.dtype == torch.float64


def test_network_input_sigma_is_the_level_of_the_discrete_noise() -> None:
    sigmas = []

    class RecordingBackbone(TableBackbone):
        def forward(self, tokens: object, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
            sigmas.append(sigma_B)
            return super().forward(random_text(), sigma_B, valid_BL)

    objective = DuoCurriculum()
    noised = objective.corrupt(make_process(), make_batch(random_text()))
    objective(make_process(), RecordingBackbone(V, L), noised)
    torch.testing.assert_close(torch.exp(-sigmas[0]), noised.alpha_B)


# --------------------------------------------------------------------------------------------------------- when


def test_plain_nelbo_outside_the_steps_of_the_curriculum() -> None:
    objective, plain = DuoCurriculum(t_min=0.05, t_max=0.9, start_step=3, end_step=7), NELBO(t_min=0.05, t_max=0.9)
    for step in range(10):
        found, expected = (one.corrupt(make_process(), make_batch(random_text(), step)) for one in (objective, plain))
        assert (found.soft is not None) == (3 <= step < 7)
        if found.soft is None:
            assert all(torch.equal(a, b) for a, b in zip(found[:5], expected[:5], strict=True))


@pytest.mark.parametrize("padded", [False, True])
def test_a_row_does_not_depend_on_its_micro_batch(padded: bool) -> None:
    """Results therefore do not depend on accumulation, ranks, workers or restarts."""
    objective = DuoCurriculum(tau=0.05, top_k=V)
    valid = torch.arange(L) < (torch.arange(12) % (L + 1))[:, None] if padded else None
    whole = make_batch(random_text(), 5, valid_BL=valid)
    for size in (1, 5, 12):
        parts = []
        for start in range(0, 12, size):
            rows = slice(start, start + size)
            part = [value[rows] if isinstance(value, Tensor) else value for value in whole]
            parts.append(objective.corrupt(make_process(), TokenBatch(*part)))
        once = objective.corrupt(make_process(), whole)
        assert once.soft is not None
        for field in ("xt_BL", "t_B", "alpha_B", "slope_B"):
            assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(once, field))
        for number, values in enumerate(once.soft):
            assert torch.equal(torch.cat([part.soft[number] for part in parts]), values)


# --------------------------------------------------------------------------------------------------------- inputs


def test_soft_tokens_are_embedded_as_the_dense_softmax() -> None:
    """Compare values and gradients of the embedding with all ids kept."""
    objective, net = DuoCurriculum(tau=0.3, top_k=V), make_backbone()
    objective.check_compatible(make_process(), net)
    b = make_batch(random_text())
    soft = objective.corrupt(make_process(), b).soft
    assert soft is not None
    low, high = objective.gamma_range(V)
    gamma_B1 = (low + (high - low) * b.quantiles_B)[:, None]
    found = gaussian_duality.sample_top_values(b.tokens_BL, gamma_B1, gaussian_duality.gaussian_keys(b.keys_B, L), V, V)
    w_BLV = torch.zeros(12, L, V, dtype=torch.float64).scatter(2, found.ids, found.values)
    table = net.vocab_embed.embedding
    direction = torch.randn(12, L, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, dense = net.vocab_embed(soft), torch.softmax(w_BLV / 0.3, 2) @ table
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    one, other = (torch.autograd.grad((x * direction).sum(), table)[0] for x in (ours, dense))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert (ours - net.vocab_embed(b.tokens_BL)).abs().max() > 0.1, "the inputs must be mixtures"


@pytest.mark.parametrize("vocab_size", [V, 5000])
def test_tau_near_zero_equals_the_plain_nelbo_per_token(vocab_size: int) -> None:
    objective, net = DuoCurriculum(tau=1e-12), make_backbone(vocab_size)
    noised = objective.corrupt(make_process(vocab_size), make_batch(random_text()))
    assert noised.soft is not None
    hard = noised._replace(soft=None)
    assert (noised.xt_BL != noised.x0_BL).float().mean() > 0.2
    torch.testing.assert_close(net.vocab_embed(noised.soft), net.vocab_embed(noised.xt_BL), rtol=0, atol=0)
    losses = []
    for given, by in ((noised, objective), (hard, NELBO())):
        net.zero_grad()
        total, losses_N = by(make_process(vocab_size), net, given)
        total.backward()
        losses.append((losses_N, [parameter.grad.clone() for parameter in net.parameters()]))
    (one, its_gradients), (other, other_gradients) = losses
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for a, b in zip(its_gradients, other_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_weight_of_the_clean_token_grows_with_tau() -> None:
    """The larger tau, the larger is the weight of x_0 in the input of the network."""
    shares = []
    for tau in (1e-12, 1e-2, 1e-1, 1.0):
        noised = DuoCurriculum(tau=tau, top_k=V).corrupt(make_process(), make_batch(random_text(200)))
        assert noised.soft is not None
        changed = noised.xt_BL != noised.x0_BL
        shares.append(float(noised.soft.weights_BLK[..., 0][changed].mean()))
    assert shares[0] == 0.0
    assert all(a < b for a, b in pairwise(shares))


def test_padding_is_unchanged() -> None:
    valid = torch.arange(L) < (torch.arange(12) % (L + 1))[:, None]
    noised = DuoCurriculum(tau=0.5, top_k=V).corrupt(make_process(), make_batch(random_text(), valid_BL=valid))
    assert noised.soft is not None
    assert torch.equal(noised.xt_BL[~valid], noised.x0_BL[~valid])
    assert (noised.soft.weights_BLK[~valid][:, 0] == 1).all()
    assert torch.equal(noised.soft.ids_BLK[..., 0], noised.x0_BL)
    torch.testing.assert_close(noised.soft.weights_BLK.sum(-1), torch.ones(12, L, dtype=torch.float64))


def test_soft_tokens_in_half_precision() -> None:
    objective, net = DuoCurriculum(tau=0.3, top_k=V), make_backbone().float()
    with torch.autocast("cpu", torch.bfloat16):
        total, losses_N = objective(make_process(), net, objective.corrupt(make_process(), make_batch(random_text())))
    total.backward()
    assert losses_N.dtype == torch.float32
    assert net.vocab_embed.embedding.grad is not None


# --------------------------------------------------------------------------------------------------------- the bound


def expected_loss(world: Joint, noise: UniformProcess, alpha: float, slope: float) -> float:
    """Return the expected loss per token at a noise level, by enumeration of all rows and noisy rows."""
    X, places, ids = len(world.rows_XL), world.L, world.V
    shape = (X, X, places)
    table_XLV = torch.log_softmax(TableBackbone(ids, places)(world.rows_XL, torch.full((X,), -math.log(alpha))), -1)
    loss = noise.nelbo(
        table_XLV.expand(X, *table_XLV.shape).reshape(-1, ids),
        NoisyTokens(
            world.rows_XL[:, None].expand(shape).flatten(),
            world.rows_XL[None].expand(shape).flatten(),
            torch.full((X * X * places,), alpha, dtype=torch.float64),
            torch.full((X * X * places,), slope, dtype=torch.float64),
        ),
    )
    return float((world.noisy(alpha)[..., None] * loss.view(shape).detach()).sum() / places)


def integrals(objective: DuoCurriculum, world: Joint, noise: UniformProcess) -> tuple[float, float]:
    """Return the integral of the loss over gamma, and over the times of the schedule with the same levels."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    quantiles = torch.tensor((nodes + 1) / 2)
    noised = objective.corrupt(noise, make_batch(world.rows_XL[torch.arange(40) % len(world.rows_XL)], 0, quantiles))
    levels = zip(noised.alpha_B.tolist(), noised.slope_B.tolist(), strict=True)
    ours = sum(w / 2 * expected_loss(world, noise, *at) for w, at in zip(weights, levels, strict=True))
    t_1, t_2 = times(objective, noise.vocab_size)
    at_t = noise.level(t_1 + (t_2 - t_1) * quantiles)
    levels = zip(at_t.alpha.tolist(), at_t.slope.tolist(), strict=True)
    theirs = sum(w / 2 * (t_2 - t_1) * expected_loss(world, noise, *at) for w, at in zip(weights, levels, strict=True))
    return float(ours), float(theirs)


def test_expected_loss_is_the_nelbo_between_the_same_levels() -> None:
    """Exact expectations over all rows and all noise, for wrong predictions that depend on the level."""
    ours, theirs = integrals(DuoCurriculum(), Joint(3, 2, seed=2), make_process(3))
    assert ours == pytest.approx(theirs, rel=1e-8)
    assert ours > 0.1


def test_sampled_loss_has_the_expected_mean() -> None:
    objective, world, noise = DuoCurriculum(tau=1e-12), Joint(3, 2, seed=2), make_process(3)
    expected, _ = integrals(objective, world, noise)
    rows = torch.multinomial(world.p_X, 40_000, replacement=True, generator=torch.Generator().manual_seed(0))
    noised = objective.corrupt(noise, make_batch(world.rows_XL[rows]))
    losses = objective(noise, TableBackbone(3, 2), noised._replace(soft=None)).tokens_N.view(-1, 2).mean(1)
    error = float(losses.std()) / math.sqrt(len(losses))  # an upper bound, because times are stratified
    assert abs(float(losses.mean()) - expected) < 4 * error
    assert error < 0.02 * expected


# --------------------------------------------------------------------------------------------------------- the variance


def gradient_variance(losses: Iterable[Tensor], net: DiT) -> float:
    """Return the total variance of the gradient over draws."""
    gradients = [torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*net.parameters()])]) for loss in losses]
    return float(torch.stack(gradients).var(0).sum())


def test_variance_of_the_gradient_against_the_plain_nelbo() -> None:
    """Variance for single rows and times over the same levels.

    At the tau of the paper few tokens are mixtures, so the relaxation hardly changes the variance. Uniform gamma has
    many draws where alpha hardly changes, so its variance is larger than that of the log-linear schedule.
    """
    objective, noise, net, draws = DuoCurriculum(), make_process(), make_backbone(), 200
    t_1, t_2 = times(objective, V)
    plain = NELBO(t_min=t_1, t_max=t_2)
    b = make_batch(random_text(draws), quantiles_B=torch.arange(draws) * 0.6180339887498949 % 1.0)
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
def test_constructor_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        DuoCurriculum(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_min": 3.0}, r"`gamma_min` must be below `gamma_max`, got 3\.0 and 2\.\d+ for 11 ids\."),
        ({"gamma_min": -20.0}, r"`gamma_min` = -20\.0 and `gamma_max` = .* give levels 1 and 0\.048.* for 11 ids"),
        ({"gamma_max": 40.0}, r"`gamma_max` = 40\.0 give levels 0\.94.* omit both for the levels 0\.942 and 0\.049"),
        (
            {"tau": 0.1},
            r"`tau` = 0\.1 is too large for `top_k` = 8: the other ids may have a mean weight of .* is allowed\.",
        ),
    ],
)
def test_check_compatible_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DuoCurriculum(**options).check_compatible(make_process(), make_backbone())


def test_settings_of_the_paper_are_accepted() -> None:
    with torch.device("meta"):
        net = DiT(30_522, hidden_size=16, n_blocks=1, n_heads=2)
    DuoCurriculum().check_compatible(make_process(30_522), net)
    DuoCurriculum(gamma_min=-3.5, gamma_max=-1.75).check_compatible(make_process(30_522), net)
    DuoCurriculum(tau=1e30, top_k=V).check_compatible(make_process(), make_backbone())


def test_other_process_error() -> None:
    other = create_autospec(Process, instance=True)
    with pytest.raises(InputError, match=r"^`model.objective` is DuoCurriculum, .* `model.process` is .*; use `NELBO`"):
        DuoCurriculum().check_compatible(other, make_backbone())


def test_backbone_without_embedding_error() -> None:
    with pytest.raises(InputError, match=r"^`model.objective` is DuoCurriculum, .* `model.backbone` is Unigram"):
        DuoCurriculum().check_compatible(make_process(), UnigramBackbone(V))


def test_optional_fields_of_noised() -> None:
    assert Noised._field_defaults == {"valid_BL": None, "soft": None}
    assert SoftTokens._fields == ("ids_BLK", "weights_BLK")
