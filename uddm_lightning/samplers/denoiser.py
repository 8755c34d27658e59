"""The denoiser: one set of weights, asked for leave-one-out predictions in bounded memory.

Shapes: B rows, L positions, N = B * L tokens, C tokens in a chunk, V ids, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunked_head import chunk_slices
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization

# Tokens that go through the network at a time where there is no accelerator: few enough for a cache to hold their
# features, and for the allocator to hand the same pages out again.
TILE_TOKENS = 2**10


class Denoiser:
    """Process, weights and the meaning of their output in one hand; what samplers and probes ask.

    Args:
        process: the forward process.
        backbone: weights in evaluation mode; predictions come in their dtype.
        prediction: what the backbone's output means.
    """

    def __init__(self, process: Process, backbone: Backbone, prediction: Parameterization) -> None:
        self.process = process
        self.backbone = backbone
        self.prediction = prediction

    @torch.no_grad()
    def __call__(
        self,
        reduce: Callable[..., tuple[Tensor, ...]],
        xt_BL: Tensor,
        t_B: Tensor,
        valid_BL: Tensor | None,
        *tokenwise_BL: Tensor,
        asked_BL: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Runs the network once and reduces its predictions chunk by chunk, so that no (B, L, V) tensor exists.

        Args:
            reduce: takes log-probabilities up to a constant of each token (C, V), ids x_t (C,) and the chunk (C,) of
                each of `tokenwise_BL`; returns tensors of shape (C,). What it makes of a token where the process
                predicts nothing (see `Process.predicted`) is meaningless.
            xt_BL: noisy ids.
            t_B: times.
            valid_BL: False at padding, or None.
            tokenwise_BL: what else `reduce` needs for each token.
            asked_BL: bool, tokens whose predictions are wanted; rows without any are not even looked at.

        Returns:
            The reductions, each of shape (B, L); with `asked_BL`, those of its M tokens in their order, each (M,).
        """
        if asked_BL is not None:
            some_B = asked_BL.any(1)
            asked_BL, xt_BL, t_B = asked_BL[some_B], xt_BL[some_B], t_B[some_B]
            valid_BL = None if valid_BL is None else valid_BL[some_B]
            tokenwise_BL = tuple(values[some_B] for values in tokenwise_BL)
        level = self.process.level(t_B)
        rows, length = xt_BL.shape
        tile = max(1, TILE_TOKENS // length) if xt_BL.device.type == "cpu" else rows
        pieces = []
        for start in range(0, rows, tile):
            tiled = slice(start, start + tile)
            valid_TL = None if valid_BL is None else valid_BL[tiled]
            hidden_TLD = self.backbone(xt_BL[tiled], level.sigma[tiled], valid_TL)
            alpha_TL = level.alpha[tiled, None].expand(-1, length)
            values = (hidden_TLD, xt_BL[tiled], alpha_TL, *(values_BL[tiled] for values_BL in tokenwise_BL))
            asked_N = slice(None) if asked_BL is None else asked_BL[tiled].flatten()
            hidden_ND, xt_N, alpha_N, *tokenwise_N = (some.flatten(0, 1)[asked_N] for some in values)
            for chunk in chunk_slices(len(xt_N), self.process.num_states):
                logits_CV = self.backbone.head(hidden_ND[chunk])
                logits_CV = self.process.leave_one_out_logits(logits_CV, xt_N[chunk], alpha_N[chunk], self.prediction)
                pieces.append(reduce(logits_CV, xt_N[chunk], *(values[chunk] for values in tokenwise_N)))
        found = tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))
        return found if asked_BL is not None else tuple(values_N.view_as(xt_BL) for values_N in found)

    @torch.no_grad()
    def at(self, xt_BL: Tensor, position_B: Tensor, t_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Log-probabilities (B, V) at one position of each row."""
        level = self.process.level(t_B)
        hidden_BLD = self.backbone(xt_BL, level.sigma, valid_BL)
        rows = torch.arange(len(xt_BL), device=xt_BL.device)
        logits_BV = self.backbone.head(hidden_BLD[rows, position_B])
        return self.process.leave_one_out(logits_BV, xt_BL[rows, position_B], level.alpha, self.prediction)
