"""uddm doctor: it passes where everything is right, and notices each thing that is not."""

import re

import torch

from uddm_lightning.backbones import MarkovBackbone
from uddm_lightning.commands.doctor import run
from uddm_lightning.doctor import Check, Checks
from uddm_lightning.doctor import toy_worlds as tiny
from uddm_lightning.processes import Parameterization, UniformProcess
from uddm_lightning.samplers import AncestralSampler

LINES = {
    "keyed noise": 0,
    "predictions of the oracles": 1e-6,
    "NELBO of a Markov text": 1e-4,
    "NELBO of memorized rows": 1e-4,
    "texts that the chain draws": 5,
    "recovery of the unigram model": 4,
    "tokens restored otherwise": 0,
    "a checkpoint written and read": 0,
}


def test_a_sound_machine_passes_with_figures(uddm):
    outcome = uddm("doctor")
    assert outcome.status == 0, outcome.out
    assert f"torch {torch.__version__}" in outcome.out
    assert re.search(r"CPU: \d+ core\(s\), \d+ thread\(s\)", outcome.out)
    assert "cache: " in outcome.out
    for name, limit in LINES.items():
        line = next(line for line in outcome.out.splitlines() if line.startswith(name))
        *_, found, shown, verdict = line.split()
        assert verdict == "pass"
        assert 0 <= float(found) <= limit
        assert float(shown) == limit
    assert "all 8 checks passed in" in outcome.out


def passes(name: str, *arguments: object) -> bool:
    return getattr(Checks(torch.device("cpu")), name)(*arguments).passed


def test_a_wrong_bound_is_noticed(monkeypatch):
    assert passes("likelihood", "memorized rows", tiny.memory())
    right = UniformProcess.nelbo
    monkeypatch.setattr(UniformProcess, "nelbo", lambda self, *arguments: 1.001 * right(self, *arguments))
    assert not passes("likelihood", "memorized rows", tiny.memory())


def test_a_confused_meaning_is_noticed(monkeypatch):
    right = UniformProcess.leave_one_out_logits

    def confused(self, logits_NV, xt_N, alpha_N, prediction):
        return right(self, logits_NV, xt_N, alpha_N, Parameterization.POSTERIOR)

    monkeypatch.setattr(UniformProcess, "leave_one_out_logits", confused)
    assert not passes("recovery")


def test_a_wrong_step_is_noticed(monkeypatch):
    right = UniformProcess.step

    def hasty(self, logp_NV, xt_N, alpha_s_N, alpha_t_N, keys_N):
        return right(self, logp_NV, xt_N, alpha_s_N, 0.98 * alpha_t_N, keys_N)

    monkeypatch.setattr(UniformProcess, "step", hasty)
    assert not passes("samples")


def test_noise_of_another_kind_is_noticed(monkeypatch):
    monkeypatch.setattr("uddm_lightning.core.keyed_random._MULTIPLIER_1", 3)
    assert not passes("keyed_noise")


def test_numbers_that_depend_on_the_batch_are_noticed(monkeypatch):
    right = AncestralSampler.__call__

    def by_batch(self, denoiser, xt_BL, t, keys_B, *others):
        return right(self, denoiser, xt_BL, t, keys_B + len(keys_B), *others)

    monkeypatch.setattr(AncestralSampler, "__call__", by_batch)
    assert not passes("batches")


def test_an_oracle_that_is_off_is_noticed(monkeypatch):
    right = MarkovBackbone.predict
    monkeypatch.setattr(MarkovBackbone, "predict", lambda self, *arguments: 1.00001 * right(self, *arguments))
    assert not passes("predictions")


def test_a_failure_is_the_exit_status(uddm, monkeypatch):
    monkeypatch.setattr("uddm_lightning.doctor.checks.NOISE", 1)
    outcome = uddm("doctor")
    assert outcome.status == 1
    assert re.search(r"keyed noise .* FAIL\n", outcome.out)
    assert "1 of 8 checks FAILED" in outcome.out


def test_a_check_that_cannot_run_has_failed():
    def no_such_kernel() -> Check:
        raise RuntimeError("no kernel image is available\nfor this device")

    check = run(no_such_kernel)
    assert check.name == "no such kernel: no kernel image is available"
    assert not check.passed


def test_the_known_sum_of_the_noise_is_that_of_its_definition():
    """SplitMix64 in Python's integers."""
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
    from uddm_lightning.doctor.checks import NOISE

    assert NOISE & mask == total
