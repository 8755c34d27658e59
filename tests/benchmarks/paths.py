"""The hot paths, each with a dense version on the same network and the same batch.

Shapes: B rows, L positions, V ids.
"""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor

from tests.benchmarks import corpora, dense, loop
from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices
from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import Noised
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.metrics import functional as F
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

Sides = dict[str, Callable[[], object]]
TIME, STEPS = 0.5, 1000


class Setting(NamedTuple):
    """Size of the benchmark.

    Attributes:
        V: ids in the vocabulary.
        B: rows.
        L: positions.
        hidden_size: width of the network.
        blocks: blocks of the network.
        heads: attention heads.
        device: device of the network.
        autocast: dtype of the network's products; None is float32.
        compiled: whether our training step uses `torch.compile`.
    """

    V: int = 30_522
    B: int = 8
    L: int = 128
    hidden_size: int = 256
    blocks: int = 8
    heads: int = 8
    device: torch.device = torch.device("cpu")
    autocast: torch.dtype | None = None
    compiled: bool = False

    @property
    def tokens(self) -> int:
        return self.B * self.L

    def make(self, vocab_size: int) -> DiT:
        return DiT(vocab_size, self.hidden_size, self.blocks, self.heads, gate_init=1.0, embedding_init_std=0.2)

    def network(self) -> DiT:
        torch.manual_seed(0)
        network = self.make(self.V).to(self.device)
        torch.nn.init.normal_(network.output_layer.linear.weight, std=0.05)
        return network

    def batch(self) -> Noised:
        rows = torch.arange(self.B, device=self.device)
        text = keyed_random.integers(self.V, rows[:, None], torch.arange(self.L, device=self.device))
        t_B = torch.full((self.B,), TIME, dtype=torch.float64, device=self.device)
        return UniformProcess(self.V, LogLinearSchedule()).corrupt(text, t_B, rows)

    def cast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)


def training_step(setting: Setting) -> Sides:
    """Forward, backward and AdamW."""
    process, noised, objective = UniformProcess(setting.V, LogLinearSchedule()), setting.batch(), NELBO()
    networks = {side: setting.network() for side in ("ours", "dense")}
    if setting.compiled:
        process.compile()
        networks["ours"].compile()
    optimizers = {name: torch.optim.AdamW(net.parameters(), lr=3e-4, fused=True) for name, net in networks.items()}

    def ours() -> Tensor:
        with setting.cast():
            return objective(process, networks["ours"], noised).total

    def textbook() -> Tensor:
        network = networks["dense"]
        with setting.cast():
            logits = network.head(network(noised.xt_BL, process.level(noised.t_B).sigma).flatten(0, 1))
        logits_BLV = logits.float().view(setting.B, setting.L, setting.V)
        return dense.nelbo(logits_BLV, noised.x0_BL, noised.xt_BL, noised.alpha_B, noised.slope_B).mean()

    def step(name: str, loss: Callable[[], Tensor]) -> None:
        loss().backward()
        torch.nn.utils.clip_grad_norm_(networks[name].parameters(), 1.0)
        optimizers[name].step()
        optimizers[name].zero_grad()

    return {"ours": lambda: step("ours", ours), "dense": lambda: step("dense", textbook)}


def reverse_step(setting: Setting) -> Sides:
    """One step of the ancestral chain, a different one each time, because its cost depends on its draws. `floor` is the
    network and its projection alone, for all tokens, in chunks.
    """
    process, noised, network = UniformProcess(setting.V, LogLinearSchedule()), setting.batch(), setting.network().eval()
    denoiser, sampler = Denoiser(process, network, Parameterization.LEAVE_ONE_OUT), AncestralSampler(steps=STEPS)
    keys_B, steps = torch.arange(setting.B, device=setting.device), cycle(range(round(TIME * STEPS), 0, -1))
    sigma_B = process.level(noised.t_B).sigma
    alpha_t, alpha_s = (process.level(torch.tensor(t, dtype=torch.float64)).alpha for t in (TIME, TIME - 1 / STEPS))

    @torch.no_grad()
    def ours() -> None:
        with setting.cast():
            sampler._step(denoiser, noised.xt_BL.clone(), next(steps), keys_B)

    @torch.no_grad()
    def textbook() -> Tensor:
        with setting.cast():
            logits = network.head(network(noised.xt_BL, sigma_B).flatten(0, 1))
        return dense.reverse_step(logits.view(setting.B, setting.L, setting.V), noised.xt_BL, alpha_s, alpha_t)

    return {"ours": ours, "dense": textbook, "floor": lambda: floor(setting, network, noised)}


@torch.no_grad()
def floor(setting: Setting, network: DiT, noised: Noised) -> None:
    """Return the lower limit: the network and its projection, in chunks."""
    with setting.cast():
        hidden_ND = network(noised.xt_BL, -noised.alpha_B.log()).flatten(0, 1)
        for chunk in chunk_slices(setting.tokens, setting.V, chunk_elements(setting.device)):
            network.head(hidden_ND[chunk])


def entropy(setting: Setting) -> Sides:
    """Entropy of every prediction of a batch; `floor` is the network and its projection alone, in chunks."""
    process, noised, network = UniformProcess(setting.V, LogLinearSchedule()), setting.batch(), setting.network().eval()
    denoiser = Denoiser(process, network, Parameterization.LEAVE_ONE_OUT)

    @torch.no_grad()
    def ours() -> object:
        with setting.cast():
            return denoiser(lambda logits_CV, xt_C: (F.entropy(logits_CV),), noised.xt_BL, noised.t_B, None)

    @torch.no_grad()
    def textbook(dtype: torch.dtype) -> Tensor:
        with setting.cast():
            logits = network.head(network(noised.xt_BL, process.level(noised.t_B).sigma).flatten(0, 1))
        return dense.entropy(logits.to(dtype).view(setting.B, setting.L, setting.V))

    return {
        "ours": ours,
        "dense": lambda: textbook(torch.float32),
        "dense float64": lambda: textbook(torch.float64),
        "floor": lambda: floor(setting, network, noised),
    }


def quickstart_step(setting: Setting) -> Sides:
    """A training step of the quickstart's model with dropout, for any setting, by `uddm fit` and by a plain loop."""
    dropout = 0.1
    ours = partial(loop.fit, ("--model.backbone.init_args.dropout", str(dropout)))
    return {"ours": ours, "bare": partial(loop.bare, dropout)}


PATHS: dict[str, Callable[[Setting], Sides]] = {
    "training step": training_step,
    "reverse step": reverse_step,
    "entropy": entropy,
    "quickstart step": quickstart_step,
    **corpora.PATHS,
}
