"""Operations and activations of networks, against the formulas of the literature and measured memory."""

from functools import partial

import pytest

from uddm_lightning.backbones import DiT, UnigramBackbone
from uddm_lightning.preflight.network_cost import network_cost

V, L = 30_522, 128


@pytest.mark.parametrize(("width", "blocks", "heads"), [(256, 8, 8), (768, 12, 12)])
def test_operations_of_a_transformer(width, blocks, heads):
    """12 D^2 weights a block, two products of L x L x D for attention, and the projection to V."""
    cost = network_cost(partial(DiT, hidden_size=width, n_blocks=blocks, n_heads=heads), V, L)
    forward = 2 * L * 12 * width**2 * blocks + 4 * L**2 * width * blocks + 2 * L * width * V
    assert forward < cost.forward_flops < 1.005 * forward, "the embedding of the noise is small"
    assert cost.training_flops == 3 * cost.forward_flops
    assert cost.hidden_size == width


def test_activations_are_those_that_were_measured_on_a_gpu():
    """The tiny model at 256 rows in bf16 took 4.0 GiB eagerly, with small chunks of logits: 0.44 GiB are weights."""
    make = partial(DiT, hidden_size=256, n_blocks=8, n_heads=8)
    half, full = (network_cost(make, V, L, half=half) for half in (True, False))
    assert 256 * half.activation_bytes / 2**30 == pytest.approx(4.0 - 0.44, rel=0.05)
    assert 1.5 < full.activation_bytes / half.activation_bytes < 2.0


def test_backbones_without_products_have_no_cost():
    assert network_cost(UnigramBackbone, 27, 8) is None
