"""The denoiser: one set of weights, asked for leave-one-out predictions in bounded memory.

Shapes: B rows, L positions, N = B * L tokens, C tokens in a chunk, V ids, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.prediction import Prediction
from uddm_lightning.processes.base import Process

# Elements of a chunk of logits: 64 MiB in float64, far above the cost of a kernel launch and far below (B, L, V).
CHUNK_ELEMENTS = 2**23


class Denoiser:
    """Process, weights and the meaning of their output in one hand; what samplers and probes ask.

    Args:
        process: the forward process.
        backbone: weights in evaluation mode; predictions come in their dtype.
        prediction: what the backbone's output means.
    """

    def __init__(self, process: Process, backbone: Backbone, prediction: Prediction) -> None:
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
    ) -> tuple[Tensor, ...]:
        """Runs the network once and reduces its predictions chunk by chunk, so that no (B, L, V) tensor exists.

        Args:
            reduce: takes log-probabilities (C, V), ids x_t (C,) and the chunk (C,) of each of `tokenwise_BL`; returns
                tensors of shape (C,).
            xt_BL: noisy ids.
            t_B: times.
            valid_BL: False at padding, or None.
            tokenwise_BL: what else `reduce` needs for each token.

        Returns:
            The reductions, each of shape (B, L).
        """
        level = self.process.level(t_B)
        hidden_ND = self.backbone(xt_BL, level.sigma, valid_BL).flatten(0, 1)
        xt_N = xt_BL.flatten()
        alpha_N = level.alpha.repeat_interleave(xt_BL.shape[1])
        tokenwise_N = [values.flatten() for values in tokenwise_BL]
        size = max(1, CHUNK_ELEMENTS // self.process.vocab_size)
        pieces = []
        for start in range(0, len(xt_N), size):
            chunk = slice(start, start + size)
            logits_CV = self.backbone.head(hidden_ND[chunk])
            logp_CV = self.process.leave_one_out(logits_CV, xt_N[chunk], alpha_N[chunk], self.prediction)
            pieces.append(reduce(logp_CV, xt_N[chunk], *(values[chunk] for values in tokenwise_N)))
        return tuple(torch.cat(parts).view_as(xt_BL) for parts in zip(*pieces, strict=True))

    @torch.no_grad()
    def at(self, xt_BL: Tensor, position_B: Tensor, t_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Log-probabilities (B, V) at one position of each row."""
        level = self.process.level(t_B)
        hidden_BLD = self.backbone(xt_BL, level.sigma, valid_BL)
        rows = torch.arange(len(xt_BL), device=xt_BL.device)
        logits_BV = self.backbone.head(hidden_BLD[rows, position_B])
        return self.process.leave_one_out(logits_BV, xt_BL[rows, position_B], level.alpha, self.prediction)
