"""Contract tests of samplers."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backbones.test_base import L, V
from tests.support.devices import run_as_on_cuda
from tests.support.plugins import OPTIONS, cases, make, plugins
from tests.support.toy_worlds import Joint, JointOracle, TableBackbone
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler, Sampler
from uddm_lightning.samplers import denoiser as module
from uddm_lightning.samplers.denoiser import Denoiser


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
        # rows with different start times share a batch and equal separate chains
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

    def test_the_shapes_of_a_gpu_change_nothing(
        self, cls: type, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sampler, denoiser = make(cls, steps=12, **options), self.denoiser()
        xt, keys = torch.arange(16 * L).view(16, L) % V, torch.arange(16)
        valid = torch.arange(L) < (torch.arange(16) % (L + 1))[:, None]
        clean, starts = (xt + torch.arange(16)[:, None]) % 3 == 0, torch.tensor([0.8, 0.1, 0.5, 1.0]).double().repeat(4)
        exact = [sampler(denoiser, xt, t, keys, valid, clean) for t in (0.8, starts)]
        run_as_on_cuda(monkeypatch)
        monkeypatch.setattr(module, "SMALLEST_ROWS", 1)
        monkeypatch.setattr(module, "SMALLEST_TOKENS", 1)
        padded = [sampler(denoiser, xt, t, keys, valid, clean) for t in (0.8, starts)]
        assert all(torch.equal(one, other) for one, other in zip(exact, padded, strict=True))
        assert (exact[1] != xt)[valid].any() or sampler.is_argmax

    def test_observers_change_nothing(self, cls: type, options: dict[str, Any]) -> None:
        """An observer gets every row at every time of its grid except the last, with the row's number."""
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

    def test_a_memorized_row_is_restored_from_light_noise(self, cls: type, options: dict[str, Any]) -> None:
        """One row has nearly all the probability; every chain from that row with light noise keeps its clean tokens."""
        joint = Joint(3, 3, seed=1)
        joint.p_X = torch.full_like(joint.p_X, 1e-9)
        joint.p_X[5] = 1.0 - 26e-9
        denoiser = Denoiser(UniformProcess(3, LogLinearSchedule()), JointOracle(joint), Parameterization.LEAVE_ONE_OUT)
        xt = joint.rows_XL[5].expand(10, 3)
        end = make(cls, steps=20, **options)(denoiser, xt, 0.3, torch.arange(10), None, torch.ones_like(xt).bool())
        assert torch.equal(end, xt)


def test_samplers_have_distinct_names() -> None:
    names = [make(cls, **options).name for cls in plugins(Sampler) for options in OPTIONS.get(cls.__name__, [{}])]
    assert len(set(names)) == len(names)
    assert AncestralSampler().name in names
