"""Every check of uddm doctor fails if a computation is wrong."""

import torch

from uddm_lightning.backbones import MarkovBackbone
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.doctor import Check, Checks, toy_worlds
from uddm_lightning.doctor.checks import run_check
from uddm_lightning.processes import UniformProcess
from uddm_lightning.samplers import AncestralSampler


def passes(name: str, *arguments: object) -> bool:
    return getattr(Checks(torch.device("cpu")), name)(*arguments).passed


def test_wrong_nelbo_fails(monkeypatch):
    assert passes("likelihood", "memorized rows", toy_worlds.memory())
    original = UniformProcess.nelbo
    monkeypatch.setattr(UniformProcess, "nelbo", lambda self, *arguments: 1.001 * original(self, *arguments))
    assert not passes("likelihood", "memorized rows", toy_worlds.memory())


def test_wrong_parameterization_fails(monkeypatch):
    original = UniformProcess.leave_one_out_logits

    def as_posterior(self, logits_NV, xt_N, alpha_N, prediction):
        return original(self, logits_NV, xt_N, alpha_N, Parameterization.POSTERIOR)

    monkeypatch.setattr(UniformProcess, "leave_one_out_logits", as_posterior)
    assert not passes("recovery")


def test_wrong_reverse_step_fails(monkeypatch):
    original = UniformProcess.step

    def wrong_step(self, logp_NV, xt_N, alpha_s_N, alpha_t_N, keys_N):
        return original(self, logp_NV, xt_N, alpha_s_N, 0.98 * alpha_t_N, keys_N)

    monkeypatch.setattr(UniformProcess, "step", wrong_step)
    assert not passes("samples")


def test_wrong_random_numbers_fail(monkeypatch):
    monkeypatch.setattr("uddm_lightning.core.keyed_random._MULTIPLIER_1", 3)
    assert not passes("keyed_random_numbers")


def test_batch_dependence_fails(monkeypatch):
    original = AncestralSampler.__call__

    def batch_dependent(self, denoiser, xt_BL, t, keys_B, *others):
        return original(self, denoiser, xt_BL, t, keys_B + len(keys_B), *others)

    monkeypatch.setattr(AncestralSampler, "__call__", batch_dependent)
    assert not passes("batches")


def test_wrong_oracle_fails(monkeypatch):
    original = MarkovBackbone.predict
    monkeypatch.setattr(MarkovBackbone, "predict", lambda self, *arguments: 1.00001 * original(self, *arguments))
    assert not passes("predictions")


def test_check_that_raises_fails():
    def no_such_kernel() -> Check:
        raise RuntimeError("no kernel image is available\nfor this device")

    check = run_check(no_such_kernel)
    assert check.name == "no such kernel: no kernel image is available"
    assert not check.passed


def test_key_sum():
    """Compute the sum with Python integers (SplitMix64)."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(bits: int) -> int:
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        return bits ^ (bits >> 31)

    total = 0
    for number in range(1000):
        folded = golden
        for part in (0, number, -1):
            folded = mix((mix((folded + golden) & mask) + part) & mask)
        total = (total + folded) & mask
    from uddm_lightning.doctor.checks import KEY_SUM

    assert KEY_SUM & mask == total
