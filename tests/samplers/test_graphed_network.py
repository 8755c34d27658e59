import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import DiT, UnigramBackbone
from uddm_lightning.samplers import graphed_network as module
from uddm_lightning.samplers.graphed_network import GraphedNetwork, Inputs, Network, replay_graphs

captured: list[tuple[int, ...]] = []


def capture(network: Network, inputs: Inputs) -> Network:
    """Stand in for a CUDA graph: static inputs, and an output that the next replay overwrites."""
    captured.append(tuple(inputs[0].shape))
    static = [None if values is None else values.clone() for values in inputs]
    hidden_BLD = torch.full_like(network(*inputs), torch.nan)

    def replay(*values: Tensor | None) -> Tensor:
        for kept, value in zip(static, values, strict=True):
            if kept is not None and value is not None:
                kept.copy_(value)
        return hidden_BLD.copy_(network(*static))  # type: ignore[arg-type]  # the inputs of the capture

    return replay


@pytest.fixture
def backbone() -> DiT:
    captured.clear()
    torch.manual_seed(0)
    return DiT(7, 16, 1, 2, 8, gate_init=1.0).double().eval()


@torch.no_grad()
def test_each_shape_is_captured_once_after_its_first_evaluations(backbone: DiT) -> None:
    network = GraphedNetwork(backbone, capture)
    for call in range(5):
        for rows in (2, 4):
            tokens, sigma = (torch.arange(rows * 3).view(rows, 3) + call) % 7, torch.rand(rows).double()
            for valid in (None, torch.arange(3).expand(rows, 3) != call):
                assert torch.equal(network(tokens, sigma, valid), backbone(tokens, sigma, valid))
        assert len(captured) == (0 if call < module.EAGER_CALLS else 4)
    assert sorted(captured) == [(2, 3), (2, 3), (4, 3), (4, 3)]


@torch.no_grad()
def test_new_weights_are_used(backbone: DiT) -> None:
    network, tokens, sigma = GraphedNetwork(backbone, capture), torch.arange(6).view(2, 3), torch.ones(2).double()
    for scale in range(5):
        backbone.output_layer.adaLN_modulation.bias.fill_(scale)
        assert torch.equal(network(tokens, sigma), backbone(tokens, sigma))
    assert captured


@torch.no_grad()
def test_large_evaluations_are_not_captured(backbone: DiT, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    monkeypatch.setattr(module, "LAUNCH_BOUND_OPERATIONS", 2 * 6 * parameters)
    network = GraphedNetwork(backbone, capture)
    for _ in range(5):
        for rows in (1, 2, 3):
            network(torch.zeros(rows, 3, dtype=torch.int64), torch.ones(rows).double())
    assert captured == [(1, 3), (2, 3)]


def test_only_networks_on_cuda_that_support_it_are_captured(backbone: DiT, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay_graphs(backbone) is backbone, "on the CPU"
    oracle = UnigramBackbone(7)
    assert replay_graphs(oracle) is oracle, "without parameters"
    on_cuda = torch.nn.Parameter(torch.empty(1, device="meta"))
    monkeypatch.setattr(DiT, "parameters", lambda self: iter([_Placed(on_cuda)]))
    assert isinstance(replay_graphs(backbone), GraphedNetwork)
    monkeypatch.setattr(DiT, "capturable", False)
    assert replay_graphs(backbone) is backbone


class _Placed:
    """A parameter that says it is on a CUDA device."""

    device = torch.device("cuda")

    def __init__(self, parameter: Tensor) -> None:
        self.numel = parameter.numel
