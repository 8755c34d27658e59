"""Contract tests of processes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backbones.test_base import L, V
from tests.support.devices import HostReads, run_as_on_cuda
from tests.support.plugins import OPTIONS, cases, make, plugins
from tests.support.toy_worlds import TableBackbone, assert_frequencies, full, random_logp, reverse_posterior
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import Process
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import Sampler
from uddm_lightning.samplers.denoiser import Denoiser


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
    def test_tokens_outside_the_mask_do_not_change(
        self, cls: type, options: dict[str, Any], s: float, t: float
    ) -> None:
        """Test predictions that are certain of the current token, of another one, and that exclude the current one."""
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

    def test_a_step_on_a_gpu_is_equal_and_reads_nothing(
        self, cls: type, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process, n = make(cls, V, LogLinearSchedule(), **options), 400
        logp = torch.randn(n, V, generator=torch.Generator().manual_seed(0)).double().log_softmax(1)
        xt, keys = torch.arange(n) % process.num_states, torch.arange(n)
        alpha_s, alpha_t = process.level(full(0.3, n)).alpha, process.level(full(0.6, n)).alpha
        exact = process.step(logp, xt, alpha_s, alpha_t, keys)
        run_as_on_cuda(monkeypatch)
        with HostReads() as reads:
            process.may_change_mask(xt, alpha_s, alpha_t, keys)
            process.argmax_step(logp, xt, alpha_s, alpha_t)
            padded = process.step(logp, xt, alpha_s, alpha_t, keys)
        assert reads.found == []
        assert torch.equal(exact, padded)
        assert 0 < (exact != xt).sum() < n

    def test_a_step_of_a_row_does_not_depend_on_its_batch(self, cls: type, options: dict[str, Any]) -> None:
        """A row of a batch with mixed levels gets the same draw as in a call of its own."""
        process, n, rng = make(cls, V, LogLinearSchedule(), **options), 300, torch.Generator().manual_seed(0)
        logp, xt = random_logp(rng, n, V), torch.randint(process.num_states, (n,), generator=rng)
        alpha_s = torch.rand(n, generator=rng, dtype=torch.float64) * 0.5 + 0.5
        alpha_t = alpha_s * torch.rand(n, generator=rng, dtype=torch.float64)
        keys, before = torch.arange(n), xt.clone()
        whole = process.step(logp, xt, alpha_s, alpha_t, keys)
        assert torch.equal(xt, before), "the argument was modified"
        assert (whole != xt).any()
        for row in range(0, n, 3):
            one = slice(row, row + 1)
            assert process.step(logp[one], xt[one], alpha_s[one], alpha_t[one], keys[one]) == whole[one]
        order = torch.randperm(n, generator=rng)
        again = process.step(logp[order], xt[order], alpha_s[order], alpha_t[order], keys[order])
        assert torch.equal(again, whole[order])
        assert not torch.equal(process.step(logp, xt, alpha_s, alpha_t, keys + n), whole)

    def test_a_clean_token_is_predicted_where_it_is_masked(self, cls: type, options: dict[str, Any]) -> None:
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
        loss = process.nelbo(logp, NoisyTokens(x0, xt, level.alpha, level.slope))
        assert loss.shape == x0.shape
        assert loss.isfinite().all()
        assert (loss >= -1e-9).all()
        sure = torch.nn.functional.one_hot(x0, V).double().mul(60.0)
        best = process.leave_one_out(sure, xt, level.alpha, Parameterization.LEAVE_ONE_OUT)
        assert (process.nelbo(best, NoisyTokens(x0, xt, level.alpha, level.slope)) <= loss + 1e-9).all()

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
