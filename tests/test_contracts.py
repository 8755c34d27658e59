"""What every plugin promises, for every class of the package that derives from a base, found by itself.

A class that needs more than its base's arguments has a line in the tables below; one that cannot be made without a line
fails here by name, so no plugin can be added without being tested.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import (
    Joint,
    JointOracle,
    TableBackbone,
    assert_frequencies,
    plugins,
    reverse_posterior,
)
from uddm_lightning.backbones import Backbone, DiT, SoftBackbone, TextStatistics
from uddm_lightning.core.batch import SoftTokens, TokenBatch
from uddm_lightning.objectives import Objective
from uddm_lightning.processes import Parameterization, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule, Schedule
from uddm_lightning.samplers import AncestralSampler, Sampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.stats.markov_chain import MarkovChain
from uddm_lightning.training.lr_schedules import LRSchedule

V, B, L = 6, 8, 7

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "DiT": [{"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "cond_dim": 8, "gate_init": 1.0}],
    "AncestralSampler": [{}, {"decoding": "argmax"}, {"clamp": True}, {"noise_removal": "argmax"}],
    "WarmupLinear": [{}, {"min_lr_ratio": 0.1}],
}


def cases(base: type) -> list[Any]:
    found = plugins(base)
    assert found, f"no plugin under {base.__name__}"
    return [
        pytest.param(
            cls, options, id=cls.__name__ + "".join(f"-{k}={v}" for k, v in options.items() if len(options) < 3)
        )
        for cls in found
        for options in OPTIONS.get(cls.__name__, [{}])
    ]


def make(cls: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return cls(*args, **options)
    except TypeError as error:
        pytest.fail(f"{cls} needs a line in OPTIONS of {__file__}: {error}")


def full(value: float, count: int) -> Tensor:
    return torch.full((count,), value, dtype=torch.float64)


def test_all_plugins_are_found() -> None:
    names = {
        cls.__name__ for base in (Process, Schedule, Backbone, Objective, Sampler, LRSchedule) for cls in plugins(base)
    }
    assert names >= {
        "AbsorbingProcess",
        "UniformProcess",
        "LogLinearSchedule",
        "CosineSchedule",
        "DiT",
        "EmpiricalBayesBackbone",
        "MarkovBackbone",
        "UnigramBackbone",
        "NELBO",
        "DenoisingCrossEntropy",
        "DuoCurriculum",
        "AncestralSampler",
        "WarmupConstant",
        "WarmupLinear",
    }
    assert set(OPTIONS) <= names, "a line for a class that is gone"


@pytest.mark.parametrize("base", [Process, Schedule, Backbone, Objective, Sampler, LRSchedule])
def test_bases_cannot_be_made(base: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        base(*([2] if base is Backbone else [2, LogLinearSchedule()] if base is Process else []))


# --------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(("cls", "options"), cases(Schedule))
class TestSchedule:
    def test_level_falls_from_one_to_eps(self, cls: type, options: dict[str, Any]) -> None:
        for eps in (1e-4, 1e-3, 0.2):
            schedule = make(cls, eps=eps, **options)
            level = schedule(torch.linspace(0, 1, 2001, dtype=torch.float64))
            assert float(level.alpha[0]) == pytest.approx(1.0, abs=1e-12)
            assert float(level.alpha[-1]) == pytest.approx(eps, abs=1e-9)
            assert (level.alpha.diff() < 0).all()
            assert (level.alpha > 0).all()
            assert (level.slope[1:] < 0).all()
            assert level.slope[0] <= 0
            assert level.slope.isfinite().all()

    def test_slope_is_the_derivative(self, cls: type, options: dict[str, Any]) -> None:
        schedule = make(cls, **options)
        t = torch.linspace(0.001, 0.999, 301, dtype=torch.float64).requires_grad_()
        level = schedule(t)
        (exact,) = torch.autograd.grad(level.alpha.sum(), t)
        torch.testing.assert_close(level.slope, exact, rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            finite = (schedule(t + 1e-6).alpha - schedule(t - 1e-6).alpha) / 2e-6
        torch.testing.assert_close(level.slope.detach(), finite, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
    def test_any_shape_in_float64(
        self, cls: type, options: dict[str, Any], dtype: torch.dtype, shape: tuple[int, ...]
    ) -> None:
        level = make(cls, **options)(torch.full(shape, 0.3, dtype=dtype))
        assert level.alpha.shape == level.slope.shape == level.sigma.shape == shape
        assert level.alpha.dtype == level.slope.dtype == level.sigma.dtype == torch.float64
        torch.testing.assert_close(torch.exp(-level.sigma), level.alpha)

    @pytest.mark.parametrize("eps", [0.0, 1.0, -0.1, 1.5, float("nan")])
    def test_eps_errors(self, cls: type, options: dict[str, Any], eps: float) -> None:
        with pytest.raises(ValueError, match=rf"^`eps` must be in \(0, 1\), got {eps}\.$"):
            cls(eps=eps, **options)


# --------------------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize(("cls", "options"), cases(Process))
class TestProcess:
    def some(self, process: Process, t: float = 0.6, rows: int = 40) -> tuple[Tensor, Tensor, Tensor]:
        """Clean ids, noisy ids that the process itself drew, and random predictions."""
        generator = torch.Generator().manual_seed(1)
        x0 = torch.randint(V - 1, (rows, L), generator=generator)
        xt = process.corrupt(x0, full(t, rows), torch.arange(rows)).xt_BL
        logits = torch.randn(rows * L, process.num_states, generator=generator, dtype=torch.float64)
        alpha = process.level(full(t, rows * L)).alpha
        logp = process.leave_one_out(logits, xt.flatten(), alpha, Parameterization.LEAVE_ONE_OUT)
        return x0.flatten(), xt.flatten(), logp

    def test_corruption_is_keyed_and_respects_padding(self, cls: type, options: dict[str, Any]) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        x0 = torch.arange(20 * L).view(20, L) % (V - 1)
        t, keys = torch.linspace(0.0, 1.0, 20, dtype=torch.float64), torch.arange(20)
        before = x0.clone()
        whole = process.corrupt(x0, t, keys)
        assert torch.equal(x0, before)
        assert torch.equal(whole.x0_BL, x0)
        assert whole.xt_BL.shape == x0.shape
        assert whole.xt_BL.dtype == torch.int64
        assert 0 <= whole.xt_BL.min() <= whole.xt_BL.max() < process.num_states
        assert process.prediction_mask(whole.xt_BL)[whole.xt_BL != x0].all(), "what noise changed can be asked for"
        assert torch.equal(whole.xt_BL[0], x0[0]), "no noise at t = 0"
        assert (whole.xt_BL[-5:] != x0[-5:]).double().mean() > 0.5
        level = process.level(t)
        assert torch.equal(whole.alpha_B, level.alpha)
        assert torch.equal(whole.slope_B, level.slope)
        for size in (1, 7):
            parts = [
                process.corrupt(a, b, c).xt_BL
                for a, b, c in zip(x0.split(size), t.split(size), keys.split(size), strict=True)
            ]
            assert torch.equal(torch.cat(parts), whole.xt_BL)
        valid = torch.arange(L) < (torch.arange(20) % (L + 1))[:, None]
        masked = process.corrupt(x0, t, keys, valid).xt_BL
        assert torch.equal(masked, whole.xt_BL.where(valid, x0))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("meaning", list(Parameterization))
    def test_predictions_are_normalised(
        self, cls: type, options: dict[str, Any], meaning: Parameterization, dtype: torch.dtype
    ) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        _, xt, logp = self.some(process)
        ours = process.leave_one_out(logp.to(dtype), xt, process.level(full(0.6, len(xt))).alpha, meaning)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.exp().sum(1), torch.ones(len(xt), dtype=dtype))

    @pytest.mark.parametrize("s", [0.0, 0.3, 0.599])
    def test_reverse_probabilities_draws_and_argmax_agree(self, cls: type, options: dict[str, Any], s: float) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        _, xt, logp = self.some(process)
        n = len(xt)
        alpha_s, alpha_t = process.level(full(s, n)).alpha, process.level(full(0.6, n)).alpha
        q = reverse_posterior(process, logp, xt, alpha_s, alpha_t)
        assert (q >= 0).all()
        torch.testing.assert_close(q.sum(1), torch.ones(n, dtype=torch.float64))
        assert torch.equal(process.argmax_step(logp, xt, alpha_s, alpha_t), q.argmax(1))
        keys = torch.arange(n)
        drawn = process.step(logp, xt, alpha_s, alpha_t, keys)
        assert torch.equal(process.step(logp, xt, alpha_s, alpha_t, keys), drawn)
        draws = 20_000
        for row in (0, 1, 2):
            many = process.step(
                logp[row].expand(draws, V),
                xt[row].expand(draws),
                alpha_s[:1].expand(draws),
                alpha_t[:1].expand(draws),
                torch.arange(draws),
            )
            counts = torch.bincount(many, minlength=process.num_states)
            rare = q[row] * draws < 5
            pooled = torch.cat([counts[~rare], counts[rare].sum()[None]])
            expected = torch.cat([q[row][~rare], q[row][rare].sum()[None]])
            if float(expected[-1]) * draws < 5:
                assert pooled[-1] < 30
                pooled, expected = pooled[:-1], expected[:-1]
            assert_frequencies(pooled, expected)

    @pytest.mark.parametrize(("s", "t"), [(0.0, 1e-5), (0.0, 0.6), (0.3, 0.31), (0.599, 0.6), (0.99, 1.0)])
    def test_what_may_not_move_stays(self, cls: type, options: dict[str, Any], s: float, t: float) -> None:
        """Whatever is predicted: sure of the token at hand, sure of another, and sure that it is not that one."""
        process, n = make(cls, V, LogLinearSchedule(), **options), 4000
        xt, keys = torch.arange(n) % process.num_states, torch.arange(n)
        alpha_s, alpha_t = process.level(full(s, n)).alpha, process.level(full(t, n)).alpha
        may = process.may_change_mask(xt, alpha_s, alpha_t, keys)
        assert may.shape == (n,)
        assert may.dtype == torch.bool
        here = torch.nn.functional.one_hot(xt, process.num_states)[:, :V].double()
        flat = torch.zeros(n, V, dtype=torch.float64)
        for logits in (flat, here * 50, here.roll(1, 1) * 50, -1e3 * here):
            moved = process.step(logits.log_softmax(1), xt, alpha_s, alpha_t, keys)
            assert torch.equal(moved[~may], xt[~may])
            assert torch.equal(moved[~process.prediction_mask(xt)], xt[~process.prediction_mask(xt)])

    def test_a_clean_token_is_asked_for_where_it_is_hidden(self, cls: type, options: dict[str, Any]) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        x0, place = torch.arange(8 * L).view(8, L) % V, torch.arange(8) % L
        before = x0.clone()
        shown = process.mask_position(x0, place)
        assert torch.equal(x0, before)
        assert process.prediction_mask(shown)[torch.arange(8), place].all()
        others = torch.arange(L) != place[:, None]
        assert torch.equal(shown[others], x0[others])

    @pytest.mark.parametrize("sampler", plugins(Sampler))
    def test_chains_from_pure_noise_end_in_text(self, cls: type, options: dict[str, Any], sampler: type) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        tokens = torch.arange(8 * L).view(8, L) % V
        start = process.sample_prior(tokens)
        assert start.shape == tokens.shape
        assert start.dtype == torch.int64
        assert process.prediction_mask(start).all()
        denoiser = Denoiser(process, TableBackbone(process.num_states, L, scale=2.0), Parameterization.LEAVE_ONE_OUT)
        for choices in OPTIONS.get(sampler.__name__, [{}]):
            end = sampler(steps=5, **choices)(denoiser, start, 1.0, torch.arange(8), None, torch.zeros(8, L).bool())
            assert end.dtype == torch.int64
            assert 0 <= end.min() <= end.max() < V

    @pytest.mark.parametrize("t", [1e-5, 0.2, 1.0])
    def test_the_bound_is_finite_and_never_negative(self, cls: type, options: dict[str, Any], t: float) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        x0, xt, logp = self.some(process, t)
        level = process.level(full(t, len(xt)))
        loss = process.nelbo(logp, x0, xt, level.alpha, level.slope)
        assert loss.shape == x0.shape
        assert loss.isfinite().all()
        assert (loss >= -1e-9).all()
        sure = torch.nn.functional.one_hot(x0, V).double().mul(60.0)
        best = process.leave_one_out(sure, xt, level.alpha, Parameterization.LEAVE_ONE_OUT)
        assert (process.nelbo(best, x0, xt, level.alpha, level.slope) <= loss + 1e-9).all()

    def test_chance_is_a_probability(self, cls: type, options: dict[str, Any]) -> None:
        process = make(cls, V, LogLinearSchedule(), **options)
        x0, xt, _ = self.some(process)
        f = torch.softmax(torch.arange(V, dtype=torch.float64), 0)
        chance = process.chance(x0, xt, process.level(full(0.6, len(x0))).alpha, f)
        assert chance.shape == x0.shape
        assert chance.dtype == torch.float64
        assert ((chance >= 0) & (chance <= 1)).all()

    def test_vocabulary_error(self, cls: type, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^`vocab_size` must be at least \d+, got 1"):
            cls(1, LogLinearSchedule(), **options)


# --------------------------------------------------------------------------------------------------------- backbones


@pytest.mark.parametrize(("cls", "options"), cases(Backbone))
class TestBackbone:
    def ready(self, cls: type, options: dict[str, Any]) -> Backbone:
        torch.manual_seed(0)
        backbone: Backbone = make(cls, V, **options)
        rows = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(3))
        unigram = torch.softmax(torch.arange(V, dtype=torch.float64), 0)
        backbone.prepare(TextStatistics(lambda: rows, unigram, MarkovChain.random(V, sharpness=1.0, seed=3)))
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return backbone.double().eval()

    def ask(self, backbone: Backbone, tokens: Tensor, sigma: Tensor, valid: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            hidden = backbone(tokens, sigma, valid)
            assert hidden.shape[:2] == tokens.shape
            return backbone.head(hidden.flatten(0, 1)).view(*tokens.shape, V)

    def some(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(2)
        return torch.randint(V, (B, L), generator=generator), torch.linspace(0.01, 5.0, B, dtype=torch.float64)

    def test_logits(self, cls: type, options: dict[str, Any]) -> None:
        backbone = self.ready(cls, options)
        assert backbone.vocab_size == V
        out = self.ask(backbone, *self.some())
        assert out.dtype == torch.float64
        assert not out.isnan().any()
        assert out.isfinite().any(-1).all()
        assert torch.equal(self.ask(backbone, *self.some()), out)

    def test_a_row_does_not_depend_on_its_batch(self, cls: type, options: dict[str, Any]) -> None:
        backbone, (tokens, sigma) = self.ready(cls, options), self.some()
        whole = self.ask(backbone, tokens, sigma)
        parts = [self.ask(backbone, a, b) for a, b in zip(tokens.split(3), sigma.split(3), strict=True)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)

    def test_padding_is_not_seen_and_fillers_are_harmless(self, cls: type, options: dict[str, Any]) -> None:
        backbone, (tokens, sigma) = self.ready(cls, options), self.some()
        valid = torch.arange(L) < torch.arange(B)[:, None]
        base = self.ask(backbone, tokens, sigma, valid)
        assert not base.isnan().any()
        other = self.ask(backbone, tokens.where(valid, (tokens + 1) % V), sigma, valid)
        torch.testing.assert_close(other[valid], base[valid], rtol=0, atol=1e-12)
        every = self.ask(backbone, tokens, sigma, torch.ones_like(valid))
        torch.testing.assert_close(every, self.ask(backbone, tokens, sigma), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cls", "options"), cases(SoftBackbone))
class TestSoftBackbone:
    def read(self, cls: type, options: dict[str, Any], tokens: Tensor | SoftTokens) -> Tensor:
        backbone = TestBackbone().ready(cls, options)
        with torch.no_grad():
            found: Tensor = backbone(tokens, torch.linspace(0.01, 5.0, B, dtype=torch.float64))
        return found

    def mixed(self) -> SoftTokens:
        generator = torch.Generator().manual_seed(2)
        ids = torch.rand(B, L, V, generator=generator).argsort(-1)[..., :3]
        return SoftTokens(ids, torch.softmax(torch.randn(B, L, 3, generator=generator, dtype=torch.float64), -1))

    def test_a_mixture_of_one_id_is_that_id(self, cls: type, options: dict[str, Any]) -> None:
        ids, weights = self.mixed()
        sure = SoftTokens(ids, torch.zeros_like(weights).index_fill(2, torch.tensor(1), 1.0))
        torch.testing.assert_close(self.read(cls, options, sure), self.read(cls, options, ids[..., 1]))

    def test_order_and_ids_without_weight_say_nothing(self, cls: type, options: dict[str, Any]) -> None:
        ids, weights = self.mixed()
        base = self.read(cls, options, SoftTokens(ids, weights))
        torch.testing.assert_close(self.read(cls, options, SoftTokens(ids.flip(2), weights.flip(2))), base)
        other = torch.arange(V).expand(B, L, V)
        outside = other[(other[..., None] != ids[:, :, None]).all(-1)].view(B, L, V - 3)[..., :1]
        more = SoftTokens(torch.cat([ids, outside], 2), torch.cat([weights, 0 * weights[..., :1]], 2))
        torch.testing.assert_close(self.read(cls, options, more), base)
        assert (self.read(cls, options, ids[..., 0]) - base).abs().max() > 1e-3


# --------------------------------------------------------------------------------------------------------- objectives


@pytest.mark.parametrize(("cls", "options"), cases(Objective))
class TestObjective:
    def test_times_stay_in_the_range(self, cls: type, options: dict[str, Any]) -> None:
        objective = make(cls, t_min=0.05, t_max=0.5, **options)
        times = objective.times(torch.linspace(0, 1 - 2**-53, 101, dtype=torch.float64))
        assert times.dtype == torch.float64
        assert times[0] >= 0.05
        assert times[-1] <= 0.5
        assert (times.diff() > 0).all(), "stratified quantiles must stay stratified"

    def test_range_errors(self, cls: type, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="`t_min` and `t_max` must satisfy"):
            cls(t_min=0.5, t_max=0.1, **options)

    @pytest.mark.parametrize("noise", plugins(Process))
    def test_loss_is_finite_non_negative_and_blind_to_padding(
        self, cls: type, options: dict[str, Any], noise: type[Process]
    ) -> None:
        objective, process = make(cls, **options), noise(V, LogLinearSchedule())
        backbone = TableBackbone(process.num_states, L)
        valid = torch.arange(L) < (torch.arange(B) + 1)[:, None]
        x0 = torch.arange(B * L).view(B, L) % V
        t = objective.times((torch.arange(B) + 0.5) / B)
        losses = []
        for filling in (x0, x0.where(valid, (x0 + 1) % V)):
            noised = process.corrupt(filling, t, torch.arange(B), valid)
            total, loss_N = objective(process, backbone, noised)
            loss_BL = loss_N.view(B, L)
            assert loss_BL.isfinite().all()
            assert (loss_BL >= 0).all()
            assert (loss_BL[~valid] == 0).all()
            torch.testing.assert_close(total, loss_BL.mean())
            losses.append(total)
        assert torch.equal(*losses)
        losses[0].backward()
        assert backbone.table.grad is not None
        assert backbone.table.grad.isfinite().all()
        assert backbone.table.grad.abs().sum() > 0

    def test_noise_is_a_function_of_the_row_and_the_step(self, cls: type, options: dict[str, Any]) -> None:
        objective, process = make(cls, **options), UniformProcess(V, LogLinearSchedule())
        rows, x0 = torch.arange(B), torch.arange(B * L).view(B, L) % V
        valid = torch.arange(L) < (rows + 1)[:, None]

        def noised(some: slice, step: int) -> list[Tensor]:
            quantiles = (rows + 0.5) / B
            parts = [part[some] for part in (x0, rows, rows, rows, quantiles.double(), valid)]
            found = objective.corrupt(process, TokenBatch(*parts, special_BL=None, seed=0, step=step))
            assert torch.equal(found.x0_BL, x0[some])
            assert torch.equal(found.xt_BL[~valid[some]], x0[some][~valid[some]])
            assert ((found.t_B >= 0) & (found.t_B <= 1)).all()
            assert ((found.alpha_B > 0) & (found.alpha_B < 1)).all()
            assert (found.slope_B < 0).all()
            return [*found[:5], *(found.soft or ())]

        for step in (0, 10**6):
            whole = noised(slice(None), step)
            parts = [noised(slice(start, start + 3), step) for start in range(0, B, 3)]
            for number, values in enumerate(whole):
                assert torch.equal(torch.cat([part[number] for part in parts]), values)

    @pytest.mark.parametrize("t", [0.2, 0.7])
    def test_it_is_minimal_at_what_it_says_it_predicts(self, cls: type, options: dict[str, Any], t: float) -> None:
        """Over all rows of a random joint distribution, by enumeration. (With a mask, all predictions are one.)"""
        joint, objective = Joint(3, 3, seed=6), make(cls, **options)
        process = UniformProcess(3, LogLinearSchedule())
        level = process.level(torch.tensor(t, dtype=torch.float64))
        X = len(joint.rows_XL)

        def mean(table_XLV: Tensor) -> Tensor:
            loss = objective.token_loss(
                process,
                table_XLV.expand(X, X, 3, 3).reshape(-1, 3),
                joint.rows_XL[:, None].expand(X, X, 3).flatten(),
                joint.rows_XL[None].expand(X, X, 3).flatten(),
                level.alpha.expand(X * X * 3),
                level.slope.expand(X * X * 3),
            )
            return (joint.noisy(float(level.alpha))[..., None] * loss.view(X, X, 3)).sum()

        ask = {Parameterization.LEAVE_ONE_OUT: joint.leave_one_out, Parameterization.POSTERIOR: joint.posterior}
        best = ask.pop(objective.parameterization)(float(level.alpha)).log().requires_grad_()
        (gradient,) = torch.autograd.grad(mean(best), best)
        assert gradient.abs().max() < 1e-10
        with torch.no_grad():
            (other,) = ask.values()
            assert mean(other(float(level.alpha)).log()) > mean(best) + 1e-3
            generator = torch.Generator().manual_seed(0)
            for _ in range(5):
                assert mean(best + 0.1 * torch.randn(best.shape, generator=generator, dtype=torch.float64)) > mean(best)


# --------------------------------------------------------------------------------------------------------- samplers


@pytest.mark.parametrize(("cls", "options"), cases(Sampler))
class TestSampler:
    def denoiser(self) -> Denoiser:
        return Denoiser(
            UniformProcess(V, LogLinearSchedule()), TableBackbone(V, L, scale=2.0), Parameterization.LEAVE_ONE_OUT
        )

    def test_a_row_is_a_function_of_its_key_and_start(self, cls: type, options: dict[str, Any]) -> None:
        sampler, denoiser = make(cls, steps=12, **options), self.denoiser()
        xt, keys = torch.arange(16 * L).view(16, L) % V, torch.arange(16)
        valid = torch.arange(L) < (torch.arange(16) % (L + 1))[:, None]
        clean = (xt + torch.arange(16)[:, None]) % 3 == 0
        before = xt.clone()
        whole = sampler(denoiser, xt, 0.8, keys, valid, clean)
        assert torch.equal(xt, before)
        assert whole.shape == xt.shape
        assert whole.dtype == torch.int64
        assert 0 <= whole.min() <= whole.max() < V
        assert torch.equal(whole[~valid], xt[~valid])
        for size in (1, 7, 16):
            pieces = zip(*(values.split(size) for values in (xt, keys, valid, clean)), strict=True)
            parts = [sampler(denoiser, a, 0.8, b, c, d) for a, b, c, d in pieces]
            assert torch.equal(torch.cat(parts), whole)
        # rows that start apart share the batch, and end as they do alone
        starts = torch.tensor([0.8, 0.1, 0.5, 1.0], dtype=torch.float64).repeat(4)
        apart = sampler(denoiser, xt, starts, keys, valid, clean)
        alone = [
            sampler(denoiser, xt[i : i + 1], float(starts[i]), keys[i : i + 1], valid[i : i + 1], clean[i : i + 1])
            for i in range(16)
        ]
        assert torch.equal(apart, torch.cat(alone))
        assert sampler(denoiser, xt[:0], starts[:0], keys[:0], valid[:0], clean[:0]).shape == (0, L)
        other = xt.where(valid, (xt + 1) % V)
        assert torch.equal(sampler(denoiser, other, 0.8, keys, valid, clean)[valid], whole[valid])

    def test_whoever_looks_on_changes_nothing(self, cls: type, options: dict[str, Any]) -> None:
        """An observer sees every row at every time of its grid but the last, under its own number."""
        sampler, denoiser = make(cls, steps=12, **options), self.denoiser()
        xt, keys, clean = torch.arange(8 * L).view(8, L) % V, torch.arange(8), torch.zeros(8, L).bool()
        starts = torch.tensor([0.8, 0.1, 0.5, 1.0], dtype=torch.float64).repeat(2)
        seen: list[list[float]] = [[] for _ in xt]
        begun = torch.full_like(xt, -1)

        def observe(t: float, x_BL: Tensor, numbers_B: Tensor) -> None:
            for number, row in zip(numbers_B.tolist(), x_BL, strict=True):
                begun[number] = begun[number] if seen[number] else row
                seen[number].append(t)

        watched = sampler(denoiser, xt, starts, keys, None, clean, observe)
        assert torch.equal(watched, sampler(denoiser, xt, starts, keys, None, clean))
        assert torch.equal(begun, xt), "a chain is seen where it starts"
        assert seen == [sampler.grid(float(t))[:-1] for t in starts]
        for t in starts.tolist():
            grid = sampler.grid(t)
            assert len(grid) >= 2
            assert grid[-1] == 0.0
            assert all(late > early for late, early in pairwise(grid))

    def test_names_and_errors(self, cls: type, options: dict[str, Any]) -> None:
        sampler = make(cls, **options)
        assert sampler.name
        assert sampler.name == sampler.name.lower().strip()
        with pytest.raises(ValueError, match=r"^`steps` must be at least 1, got 0\.$"):
            cls(steps=0, **options)
        with pytest.raises(ValueError, match=r"`t` must be in \[0, 1\], got 1\.5\."):
            sampler(
                self.denoiser(), torch.zeros(1, L).long(), 1.5, torch.zeros(1).long(), None, torch.ones(1, L).bool()
            )

    def test_memory_comes_back_from_light_noise(self, cls: type, options: dict[str, Any]) -> None:
        """One row holds nearly all the probability: from that row, slightly noisy, every chain keeps what is clean."""
        joint = Joint(3, 3, seed=1)
        joint.p_X = torch.full_like(joint.p_X, 1e-9)
        joint.p_X[5] = 1.0 - 26e-9
        denoiser = Denoiser(UniformProcess(3, LogLinearSchedule()), JointOracle(joint), Parameterization.LEAVE_ONE_OUT)
        xt = joint.rows_XL[5].expand(10, 3)
        end = make(cls, steps=20, **options)(denoiser, xt, 0.3, torch.arange(10), None, torch.ones_like(xt).bool())
        assert torch.equal(end, xt)


def test_samplers_name_their_chains_apart() -> None:
    names = [make(cls, **options).name for cls in plugins(Sampler) for options in OPTIONS.get(cls.__name__, [{}])]
    assert len(set(names)) == len(names)
    assert AncestralSampler().name in names


# --------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(("cls", "options"), cases(LRSchedule))
class TestLearningRate:
    def test_factor_warms_up_and_stays_in_range(self, cls: type, options: dict[str, Any]) -> None:
        rate = make(cls, warmup_steps=10, **options)
        for total in (-1, 100):
            factors = [rate(finished, total) for finished in range(100)]
            assert factors[0] == 0.0
            assert factors[:11] == pytest.approx([k / 10 for k in range(11)])
            assert all(0.0 <= factor <= 1.0 for factor in factors)
            assert all(isinstance(factor, float) for factor in factors)
            assert max(abs(a - b) for a, b in pairwise(factors)) <= 0.1 + 1e-9
        assert make(cls, **options)(0, 100) == pytest.approx(1.0)

    def test_warmup_error(self, cls: type, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^`warmup_steps` must be at least 0 steps, got -3\.$"):
            cls(warmup_steps=-3, **options)


def test_default_backbone_is_covered() -> None:
    assert DiT in plugins(Backbone)
