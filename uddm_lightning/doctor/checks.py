"""Comparisons of what this machine computes with what is known otherwise.

Shapes: X = V^L texts of a tiny world, B rows, L positions, N tokens, V ids.
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
from uddm_lightning.core.files import write_atomically
from uddm_lightning.doctor import toy_worlds as tiny
from uddm_lightning.doctor.toy_worlds import ROWS_XL, UNIGRAM_V, L, V, X
from uddm_lightning.metrics import functional as F
from uddm_lightning.processes import Parameterization, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

NOISE = -964626689712662931  # what the keyed noise adds up to, on every machine


class Check(NamedTuple):
    """One comparison.

    Attributes:
        name: what is compared, in words.
        found: how far apart the two sides are.
        limit: how far they may be.
    """

    name: str
    found: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether they are near enough, which NaN never is."""
        return self.found <= self.limit


class Checks:
    """The comparisons on one device; they take seconds, need no data and leave nothing behind.

    Args:
        device: where to compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.process = UniformProcess(V, LogLinearSchedule())

    def all(self) -> list[Callable[[], Check]]:
        """Every comparison; accelerators are compared with the CPU, too."""
        found: list[Callable[[], Check]] = [
            self.keyed_noise,
            self.predictions,
            partial(self.likelihood, "a Markov text", tiny.markov()),
            partial(self.likelihood, "memorized rows", tiny.memory()),
            self.samples,
            self.recovery,
            self.batches,
            self.checkpoint,
        ]
        return found if self.device.type == "cpu" else [*found, self.like_the_cpu]

    def keyed_noise(self) -> Check:
        """The integers that every random number is made of."""
        numbers = keyed_random.key(0, torch.arange(1000, device=self.device), torch.tensor(-1, device=self.device))
        return Check("keyed noise adds up as on any machine", float(int(numbers.sum()) != NOISE), 0)

    def predictions(self) -> Check:
        """Leave-one-out probabilities of the oracles."""
        worst = 0.0
        for world in (tiny.markov(), tiny.memory(), tiny.unigram()):
            for t in (1e-3, 0.3, 1.0):
                exact_XLV = world.predictions(float(self.process.level(torch.tensor(t, dtype=torch.float64)).alpha))
                worst = max(worst, float((self._answer(world, t).exp().cpu() - exact_XLV).abs().max()))
        return Check("predictions of the oracles, against enumeration", worst, 1e-6)

    def likelihood(self, text: str, world: tiny.World) -> Check:
        """The NELBO integrated over all t, with the gap of the prior, in nats a row."""
        eps = self.process.schedule.eps
        end_V = torch.full((V,), (1.0 - eps) / V, dtype=torch.float64)
        end_V[0] += eps
        total = L * float((end_V * (end_V * V).log()).sum())
        nodes, weights = np.polynomial.legendre.leggauss(12)
        for low, high in pairwise(np.linspace(math.log(1e-8), 0.0, 9)):
            for node, weight in zip(nodes, weights, strict=True):
                t = math.exp(0.5 * (high - low) * node + 0.5 * (high + low))
                total += 0.5 * (high - low) * weight * t * self._loss(world, t)
        exact = float(torch.special.entr(world.p_X).sum())
        return Check(f"NELBO of {text}, against its entropy [nats a row]", abs(total - exact), 1e-4)

    def samples(self) -> Check:
        """How often the chain draws each text."""
        draws, world = 4000, tiny.unigram()
        keys_B = keyed_random.key(1, torch.arange(draws, device=self.device))
        start_BL = keyed_random.integers(V, keys_B[:, None], torch.arange(L, device=self.device))
        ends_BL = AncestralSampler(steps=50)(self._denoiser(world), start_BL, 1.0, keys_B).cpu()
        counts_X = (ends_BL[:, None] == ROWS_XL).all(2).sum(0).double()
        error_X = (draws * world.p_X * (1 - world.p_X)).sqrt()
        worst = float(((counts_X - draws * world.p_X) / error_X).abs().max())
        return Check("texts that the chain draws, against their law [s.e.]", worst, 5.0)

    def recovery(self) -> Check:
        """What the chain of the unigram model restores."""
        rows, length, sampler = 500, 20, AncestralSampler(steps=4)
        t = sampler.grid(0.5)[0]
        keys_B = keyed_random.key(2, torch.arange(rows, device=self.device))
        unigram_V = UNIGRAM_V.to(self.device)
        quantiles_BL = keyed_random.uniform(keys_B[:, None], -1, torch.arange(length, device=self.device))
        text_BL = torch.searchsorted(unigram_V.cumsum(0), quantiles_BL).clamp(max=V - 1)
        times_B = torch.full((rows,), t, dtype=torch.float64, device=self.device)
        noised = self.process.corrupt(text_BL, times_B, keys_B)
        ends_BL = sampler(self._denoiser(tiny.unigram()), noised.xt_BL, t, keys_B)
        changed_BL = noised.xt_BL != text_BL
        alpha_N = noised.alpha_B[:, None].expand_as(text_BL)[changed_BL]
        chance_N = self.process.chance(text_BL[changed_BL], noised.xt_BL[changed_BL], alpha_N, unigram_V)
        surplus = float(((ends_BL == text_BL)[changed_BL].double() - chance_N).sum())
        error = float((chance_N * (1 - chance_N)).sum().sqrt())
        return Check("recovery of the unigram model, against chance [s.e.]", abs(surplus) / error, 4.0)

    def batches(self) -> Check:
        """Tokens that a network restores otherwise where rows come in batches of another size."""
        _, (whole, *others) = self._network()
        return Check("tokens restored otherwise in other batches", sum(int((o != whole).sum()) for o in others), 0)

    def checkpoint(self) -> Check:
        """A file that is written as checkpoints are."""
        numbers = torch.linspace(0.0, 1.0, 1000, dtype=torch.float64, device=self.device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "some.ckpt"
            write_atomically(path, lambda temporary: torch.save({"numbers": numbers}, temporary))
            again = torch.load(path, weights_only=True)["numbers"]
        return Check("a checkpoint written and read", float((numbers - again).abs().max()), 0)

    def like_the_cpu(self) -> Check:
        """Entropies of a network, here and on the CPU."""
        gap = self._network()[0] - Checks(torch.device("cpu"))._network()[0]
        return Check("entropies of a network, against the CPU [nats]", float(gap.abs().max()), 1e-9)

    def _denoiser(self, world: tiny.World) -> Denoiser:
        return Denoiser(self.process, world.oracle.to(self.device), Parameterization.LEAVE_ONE_OUT)

    def _answer(self, world: tiny.World, t: float) -> Tensor:
        """Log-probabilities by the oracle, [x_t text, l, v]."""
        sigma_X = self.process.level(torch.full((X,), t, dtype=torch.float64, device=self.device)).sigma
        return torch.log_softmax(world.oracle.to(self.device)(ROWS_XL.to(self.device), sigma_X), -1)

    def _loss(self, world: tiny.World, t: float) -> float:
        """Mean over texts and noise of the NELBO at one t, summed over positions."""
        level = self.process.level(torch.full((X * X * L,), t, dtype=torch.float64, device=self.device))
        rows_XL = ROWS_XL.to(self.device)
        loss_N = self.process.nelbo(
            self._answer(world, t).expand(X, X, L, V).reshape(-1, V),
            rows_XL[:, None].expand(X, X, L).flatten(),
            rows_XL.expand(X, X, L).flatten(),
            level.alpha,
            level.slope,
        )
        weight_XX = world.p_X[:, None] * tiny.likelihood(float(level.alpha[0])).prod(-1)
        return float((weight_XX[..., None] * loss_N.view(X, X, L).cpu()).sum())

    def _network(self) -> tuple[Tensor, list[Tensor]]:
        """Entropies of a random network in float64, and what it restores in batches of 64, 7 and 1 rows."""
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
