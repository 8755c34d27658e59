"""CUDA graphs of the network evaluations of a reverse chain.

Shapes: B rows, L positions, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone

Inputs = tuple[Tensor, Tensor, Tensor | None]  # of `Backbone.forward`
Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# An evaluation has about 2 operations per token and parameter. With fewer than this number, launching its kernels takes
# longer than running them: 8 transformer blocks take 6 ms of launches on an H100.
LAUNCH_BOUND_OPERATIONS = 2**40
EAGER_CALLS = 2  # evaluations of a shape before its capture: libraries plan, and short chains are not captured


def replay_graphs(backbone: Backbone) -> Network:
    """Return the network, with CUDA graphs for small evaluations if it is on a CUDA device and supports them."""
    first = next(backbone.parameters(), None)
    if first is None or first.device.type != "cuda" or not backbone.capturable:
        return backbone
    return GraphedNetwork(backbone)


class GraphedNetwork:
    """Network that replays one CUDA graph for each shape of small inputs.

    A replay overwrites the features of the evaluation before it. The graphs read the weights in place: weights may
    change their values, but not their storage.

    Args:
        backbone: the network, in evaluation mode.
        capture: records an evaluation and returns its replay.
    """

    def __init__(self, backbone: Backbone, capture: Callable[[Network, Inputs], Network] | None = None) -> None:
        self.backbone: Network = backbone
        self.capture = capture or capture_graph
        self.parameters = sum(parameter.numel() for parameter in backbone.parameters())
        self._calls: dict[tuple[object, ...], int] = {}
        self._replays: dict[tuple[object, ...], Network] = {}

    def __call__(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return features (B, L, D); see `Backbone.forward`."""
        inputs = tokens_BL, sigma_B, valid_BL
        if 2 * tokens_BL.numel() * self.parameters > LAUNCH_BOUND_OPERATIONS:
            return self.backbone(*inputs)
        # everything that decides which kernels run, and whether a static input may be written
        autocast = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
        case = (tokens_BL.shape, valid_BL is None, autocast, torch.is_inference_mode_enabled())
        calls = self._calls[case] = self._calls.get(case, 0) + 1
        if calls <= EAGER_CALLS:
            return self.backbone(*inputs)
        if case not in self._replays:
            self._replays[case] = self.capture(self.backbone, inputs)
        return self._replays[case](*inputs)


def capture_graph(network: Network, inputs: Inputs) -> Network:
    """Record an evaluation as a CUDA graph and return a function that replays it for inputs of the same shape."""
    tokens_BL, sigma_B, valid_BL = inputs
    static = tokens_BL.clone(), sigma_B.clone(), None if valid_BL is None else valid_BL.clone()
    graph, autocast = torch.cuda.CUDAGraph(), torch.is_autocast_enabled("cuda")
    # autocast would keep converted weights of the graph in its cache, and free them after the capture
    cast = torch.autocast("cuda", torch.get_autocast_dtype("cuda"), enabled=autocast, cache_enabled=False)
    with torch.cuda.device(tokens_BL.device), torch.no_grad(), cast, torch.cuda.graph(graph):
        hidden_BLD = network(*static)

    def replay(*values: Tensor | None) -> Tensor:
        for kept, value in zip(static, values, strict=True):
            if kept is not None and value is not None:
                kept.copy_(value)
        graph.replay()
        return hidden_BLD

    return replay
