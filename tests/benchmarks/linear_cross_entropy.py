"""Time the chunked head against PyTorch's linear cross-entropy: python -m tests.benchmarks.linear_cross_entropy.

Shapes: N tokens, C tokens in a chunk, V ids, D features.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.backbones import Backbone
from uddm_lightning.backbones.chunked_head import head_loss
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.processes.cross_entropy import cross_entropy_and_gradient

V, N, D, ROUNDS = 30_522, 512, 256, 5


class Head(Backbone):
    """A projection alone."""

    def __init__(self) -> None:
        super().__init__(V)
        self.linear = torch.nn.Linear(D, V)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return self.linear(hidden_ND)


def sides() -> dict[str, Callable[[], Tensor]]:
    """Return the losses whose forward and backward pass is timed."""
    net, hidden_ND, target_N = Head(), torch.randn(N, D, requires_grad=True), torch.randint(V, (N,))

    def chunk_loss(logits_CV: Tensor, chunk: slice, weight: float | None) -> LossAndGradient:
        weight_C = None if weight is None else torch.full((len(logits_CV),), weight)
        return cross_entropy_and_gradient(logits_CV, target_N[chunk], weight_C)

    def linear(options: object) -> Tensor:
        return F.linear_cross_entropy(
            hidden_ND, net.linear.weight, target_N, linear_bias=net.linear.bias, options=options
        )

    return {
        "head_loss": lambda: head_loss(net, hidden_ND, 1 / N, chunk_loss).total,
        "linear_cross_entropy": lambda: linear(None),
        "linear_cross_entropy, chunks": lambda: linear(torch.nn.LinearCrossEntropyOptions()),
    }


def main() -> None:
    """Print the median processor time of each side in milliseconds."""
    torch.set_num_threads(1)
    losses, times = sides(), {name: list[float]() for name in sides()}
    for _ in range(ROUNDS + 1):
        for name, loss in losses.items():
            start = time.process_time()
            loss().backward()
            times[name].append(1e3 * (time.process_time() - start))
    for name, milliseconds in times.items():
        sys.stdout.write(
            f"{name}: {statistics.median(milliseconds[1:]):.0f} ms\n"
        )  # without the first round, which warms up


if __name__ == "__main__":
    main()
