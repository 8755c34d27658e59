"""Operations and memory of a network, found by running it without data.

Shapes: B rows, L positions, V ids, D features.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from uddm_lightning.backbones.base import Backbone

BACKWARD = 2  # products of the backward pass for each of the forward pass: gradients of both factors


class NetworkCost(NamedTuple):
    """Cost of a network with its projection to the vocabulary.

    Attributes:
        forward_flops: floating-point operations of the matrix products of one row, forward.
        activation_bytes: bytes per row that a training step keeps for the backward pass, without logits.
        hidden_size: D, number of features that the projection reads.
    """

    forward_flops: int
    activation_bytes: int
    hidden_size: int

    @property
    def training_flops(self) -> int:
        """Operations of one row in a training step, forward and backward."""
        return (1 + BACKWARD) * self.forward_flops


def network_cost(
    backbone: Callable[[int], Backbone], vocab_size: int, length: int, half: bool = False
) -> NetworkCost | None:
    """Return the cost of a row, from fake tensors that have a shape and no values.

    Args:
        backbone: function that makes the backbone from V.
        vocab_size: V.
        length: L.
        half: autocast to bfloat16, in which kept activations are smaller.

    Returns:
        The cost; None if the backbone cannot be evaluated without data, as an oracle, or multiplies no matrices.

    Example:
        >>> from functools import partial
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.preflight.network_cost import network_cost
        >>> tiny = partial(DiT, hidden_size=256, n_blocks=8, n_heads=8)
        >>> network_cost(tiny, vocab_size=30_522, length=128).training_flops
        11245486080
    """
    try:
        with FakeTensorMode():
            network = backbone(vocab_size)
            # two sizes, because some of the memory, such as weights in bfloat16, does not depend on the rows
            one, two = (_measure(network, rows, length, half) for rows in (1, 2))
    except Exception:  # a backbone of any kind may need data or values, and then raises any error
        return None
    if not one.forward_flops:
        return None
    activation_bytes = two.activation_bytes - one.activation_bytes
    return NetworkCost(two.forward_flops - one.forward_flops, activation_bytes, one.hidden_size)


def _measure(network: Backbone, rows: int, length: int, half: bool) -> NetworkCost:
    """Return operations and kept bytes of a number of rows."""
    tokens_BL, sigma_B = torch.zeros(rows, length, dtype=torch.int64), torch.ones(rows)
    constant = {values.untyped_storage()._cdata for values in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(values: Tensor) -> Tensor:
        kept[values.untyped_storage()._cdata] = values
        return values

    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
            hidden_BLD = network(tokens_BL, sigma_B)
        size = sum(values.untyped_storage().nbytes() for place, values in kept.items() if place not in constant)
        # the counter knows the products of attention only where they are written out
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network.head(network(tokens_BL, sigma_B).detach().flatten(0, 1))
    return NetworkCost(int(counter.get_total_flops()), size, hidden_BLD.shape[-1])
