"""Checks of computed values against exact ones.

Shapes: X = V^L texts of a toy distribution, B rows, L positions, N tokens, V ids.
"""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uddm_lightning.backbones import DiT
from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.files import write_atomically
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.core.progress import progress
from uddm_lightning.doctor import toy_worlds
from uddm_lightning.doctor.toy_worlds import ROWS_XL, UNIGRAM_V, L, ToyDistribution, V, X
from uddm_lightning.metrics import functional as F
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

KEY_SUM = -964626689712662931  # sum of the keys in `Checks.keyed_random_numbers`, on every machine


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        name: description, at most 58 characters.
        error: deviation from the exact value.
        tolerance: largest allowed error.
    """

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Return whether the error is within the tolerance. A NaN fails."""
        return self.error <= self.tolerance


def run_all_checks() -> list[tuple[torch.device, Check]]:
    """Run all checks on the CPU and on every CUDA device."""
    devices = [torch.device("cpu"), *(torch.device("cuda", number) for number in range(torch.cuda.device_count()))]
    checks = [(device, check) for device in devices for check in Checks(device).all()]
    return [(device, run_check(check)) for device, check in progress(checks, "checks")]


def run_check(check: Callable[[], Check]) -> Check:
    """Run a check; one that cannot be run has failed."""
    try:
        return check()
    except RuntimeError as error:  # torch raises it if a device or an operation is missing
        name = getattr(check, "func", check).__name__.replace("_", " ")
        return Check(f"{name}: {str(error).splitlines()[0][:80]}", math.nan, 0)


class Checks:
    """Self-checks on one device. They take seconds, need no data and leave no files.

    Args:
        device: device of the computations.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.process = UniformProcess(V, LogLinearSchedule())

    def all(self) -> list[Callable[[], Check]]:
        """Return all checks. On an accelerator they include a comparison with the CPU."""
        checks: list[Callable[[], Check]] = [
            self.keyed_random_numbers,
            self.predictions,
            partial(self.likelihood, "Markov text", toy_worlds.markov()),
            partial(self.likelihood, "memorized rows", toy_worlds.memory()),
            self.samples,
            self.recovery,
            self.batches,
            self.checkpoint,
        ]
        return checks if self.device.type == "cpu" else [*checks, self.cpu_agreement]

    def keyed_random_numbers(self) -> Check:
        """Compare the sum of 1000 keys with its known value."""
        numbers = keyed_random.key(0, torch.arange(1000, device=self.device), torch.tensor(-1, device=self.device))
        return Check("keyed random numbers, checksum", float(int(numbers.sum()) != KEY_SUM), 0)

    def predictions(self) -> Check:
        """Compare leave-one-out probabilities of the oracles with enumeration."""
        worst = 0.0
        for toy in (toy_worlds.markov(), toy_worlds.memory(), toy_worlds.unigram()):
            for t in (1e-3, 0.3, 1.0):
                exact_XLV = toy.predictions(float(self.process.level(torch.tensor(t, dtype=torch.float64)).alpha))
                worst = max(worst, float((self._predict(toy, t).exp().cpu() - exact_XLV).abs().max()))
        return Check("predictions of the oracles minus enumeration", worst, 1e-6)

    def likelihood(self, text: str, toy: ToyDistribution) -> Check:
        """Compare the NELBO, integrated over all t plus the gap of the prior, with the entropy, in nats per row."""
        eps = self.process.schedule.eps
        end_V = torch.full((V,), (1.0 - eps) / V, dtype=torch.float64)
        end_V[0] += eps
        total = L * float((end_V * (end_V * V).log()).sum())
        nodes, weights = np.polynomial.legendre.leggauss(12)
        for low, high in pairwise(np.linspace(math.log(1e-8), 0.0, 9)):
            for node, weight in zip(nodes, weights, strict=True):
                t = math.exp(0.5 * (high - low) * node + 0.5 * (high + low))
                total += 0.5 * (high - low) * weight * t * self._loss(toy, t)
        exact = float(torch.special.entr(toy.p_X).sum())
        return Check(f"NELBO minus entropy of {text} [nats per row]", abs(total - exact), 1e-4)

    def samples(self) -> Check:
        """Compare the frequency of each sampled text with its probability."""
        draws, toy = 4000, toy_worlds.unigram()
        keys_B = keyed_random.key(1, torch.arange(draws, device=self.device))
        start_BL = keyed_random.integers(V, keys_B[:, None], torch.arange(L, device=self.device))
        samples_BL = AncestralSampler(steps=50)(self._denoiser(toy), start_BL, 1.0, keys_B).cpu()
        counts_X = (samples_BL[:, None] == ROWS_XL).all(2).sum(0).double()
        standard_error_X = (draws * toy.p_X * (1 - toy.p_X)).sqrt()
        worst = float(((counts_X - draws * toy.p_X) / standard_error_X).abs().max())
        return Check("frequencies of sampled texts minus probabilities [s.e.]", worst, 5.0)

    def recovery(self) -> Check:
        """Compare the recovery of the unigram model with the chance level."""
        rows, length, sampler = 500, 20, AncestralSampler(steps=4)
        t = sampler.grid(0.5)[0]
        keys_B = keyed_random.key(2, torch.arange(rows, device=self.device))
        unigram_V = UNIGRAM_V.to(self.device)
        quantiles_BL = keyed_random.uniform(keys_B[:, None], -1, torch.arange(length, device=self.device))
        text_BL = torch.searchsorted(unigram_V.cumsum(0), quantiles_BL).clamp(max=V - 1)
        times_B = torch.full((rows,), t, dtype=torch.float64, device=self.device)
        noised = self.process.corrupt(text_BL, times_B, keys_B)
        restored_BL = sampler(self._denoiser(toy_worlds.unigram()), noised.xt_BL, t, keys_B)
        changed_BL = noised.xt_BL != text_BL
        alpha_N = noised.alpha_B[:, None].expand_as(text_BL)[changed_BL]
        chance_N = self.process.chance(text_BL[changed_BL], noised.xt_BL[changed_BL], alpha_N, unigram_V)
        deviation = float(((restored_BL == text_BL)[changed_BL].double() - chance_N).sum())
        standard_error = float((chance_N * (1 - chance_N)).sum().sqrt())
        return Check("recovery of the unigram model minus chance [s.e.]", abs(deviation) / standard_error, 4.0)

    def batches(self) -> Check:
        """Count tokens that a network restores differently in batches of another size."""
        _, (whole, *others) = self._network()
        differing = sum(int((other != whole).sum()) for other in others)
        return Check("tokens restored differently in other batch sizes", differing, 0)

    def checkpoint(self) -> Check:
        """Compare a tensor with itself after it was saved as a checkpoint and loaded."""
        numbers = torch.linspace(0.0, 1.0, 1000, dtype=torch.float64, device=self.device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "last.ckpt"
            write_atomically(path, lambda temporary: torch.save({"numbers": numbers}, temporary))
            loaded = torch.load(path, weights_only=True)["numbers"]
        return Check("checkpoint saved and loaded", float((numbers - loaded).abs().max()), 0)

    def cpu_agreement(self) -> Check:
        """Compare entropies of a network with those on the CPU."""
        gap = self._network()[0] - Checks(torch.device("cpu"))._network()[0]
        return Check("entropies of a network minus those on the CPU [nats]", float(gap.abs().max()), 1e-9)

    def _denoiser(self, toy: ToyDistribution) -> Denoiser:
        return Denoiser(self.process, toy.oracle.to(self.device), Parameterization.LEAVE_ONE_OUT)

    def _predict(self, toy: ToyDistribution, t: float) -> Tensor:
        """Return log-probabilities of the oracle, indexed [x_t, l, v]."""
        sigma_X = self.process.level(torch.full((X,), t, dtype=torch.float64, device=self.device)).sigma
        return torch.log_softmax(toy.oracle.to(self.device)(ROWS_XL.to(self.device), sigma_X), -1)

    def _loss(self, toy: ToyDistribution, t: float) -> float:
        """Return the expected integrand of the NELBO at one t, summed over positions."""
        level = self.process.level(torch.full((X * X * L,), t, dtype=torch.float64, device=self.device))
        rows_XL = ROWS_XL.to(self.device)
        loss_N = self.process.nelbo(
            self._predict(toy, t).expand(X, X, L, V).reshape(-1, V),
            NoisyTokens(
                rows_XL[:, None].expand(X, X, L).flatten(), rows_XL.expand(X, X, L).flatten(), level.alpha, level.slope
            ),
        )
        weight_XX = toy.p_X[:, None] * toy_worlds.likelihood(float(level.alpha[0])).prod(-1)
        return float((weight_XX[..., None] * loss_N.view(X, X, L).cpu()).sum())

    def _network(self) -> tuple[Tensor, list[Tensor]]:
        """Return entropies of a random float64 network and the rows it restores in batches of 64, 7 and 1 rows."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = DiT(V, hidden_size=32, n_blocks=2, n_heads=4, cond_dim=16, gate_init=1.0).double().eval()
        denoiser = Denoiser(self.process, network.to(self.device), Parameterization.LEAVE_ONE_OUT)
        keys_B = keyed_random.key(3, torch.arange(64, device=self.device))
        xt_BL = keyed_random.integers(V, keys_B[:, None], torch.arange(16, device=self.device))
        t_B = torch.full((64,), 0.5, dtype=torch.float64, device=self.device)
        (entropy_BL,) = denoiser(lambda logits_CV, xt_C: (F.entropy(logits_CV),), xt_BL, t_B, None)
        chain, restored = AncestralSampler(steps=20), []
        for size in (64, 7, 1):
            pieces = zip(torch.split(xt_BL, size), torch.split(keys_B, size), strict=True)
            restored.append(torch.cat([chain(denoiser, x_BL, 0.5, keys) for x_BL, keys in pieces]).cpu())
        return entropy_BL.cpu(), restored
