"""Denoiser: leave-one-out predictions of a backbone in bounded memory.

Shapes: B rows, L positions, N = B * L tokens, C tokens in a chunk, M selected tokens, T rows in a
tile, V ids, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices
from uddm_lightning.processes import Parameterization, Process

# Tokens per network evaluation on a CPU: few enough that their features stay in the cache, and that the allocator
# reuses its memory pages.
TILE_TOKENS = 2**10


class Denoiser:
    """Process, backbone and parameterization: everything that samplers and probes need to predict clean tokens.

    Args:
        process: forward process.
        backbone: backbone in evaluation mode. Predictions have the dtype of its output.
        parameterization: distribution that the outputs of the backbone parameterize.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.processes import Parameterization, UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> from uddm_lightning.samplers.denoiser import Denoiser
        >>> process = UniformProcess(27, LogLinearSchedule())
        >>> backbone = DiT(27, hidden_size=32, n_blocks=1, n_heads=2).eval()
        >>> denoiser = Denoiser(process, backbone, Parameterization.LEAVE_ONE_OUT)
        >>> xt_BL, t_B = torch.arange(6).view(2, 3), torch.tensor([0.1, 0.5])
        >>> (argmax_BL,) = denoiser(lambda logits_CV, x_C: (logits_CV.argmax(1),), xt_BL, t_B, None)
        >>> argmax_BL.shape
        torch.Size([2, 3])
        >>> denoiser.predict_at(xt_BL, torch.tensor([0, 2]), t_B, None).shape
        torch.Size([2, 27])
    """

    def __init__(self, process: Process, backbone: Backbone, parameterization: Parameterization) -> None:
        self.process = process
        self.backbone = backbone
        self.parameterization = parameterization

    @torch.no_grad()
    def __call__(
        self,
        reduce: Callable[..., tuple[Tensor, ...]],
        xt_BL: Tensor,
        t_B: Tensor,
        valid_BL: Tensor | None,
        *tokenwise_BL: Tensor,
        selected_BL: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Evaluate the network once and reduce its predictions in chunks, so that no (B, L, V) tensor is stored.

        Args:
            reduce: function of leave-one-out logits (C, V), noisy ids (C,) and one (C,) chunk of each tensor in
                `tokenwise_BL`. It returns tensors (C,). Its values at tokens outside `Process.prediction_mask` are
                undefined.
            xt_BL: int64 noisy ids.
            t_B: times in [0, 1].
            valid_BL: False at padding; None if every position is valid.
            tokenwise_BL: additional inputs of `reduce`.
            selected_BL: bool, tokens to predict; rows without any are skipped. None selects all tokens.

        Returns:
            Reductions, each (B, L); with `selected_BL`, those of the M selected tokens in row-major order, each (M,).
        """
        if selected_BL is not None:
            some_B = selected_BL.any(1)
            selected_BL, xt_BL, t_B = selected_BL[some_B], xt_BL[some_B], t_B[some_B]
            valid_BL = None if valid_BL is None else valid_BL[some_B]
            tokenwise_BL = tuple(values[some_B] for values in tokenwise_BL)
        level = self.process.level(t_B)
        noise_B = self.process.noise_input(level.alpha)
        rows, length = xt_BL.shape
        tile_rows = max(1, TILE_TOKENS // length) if xt_BL.device.type == "cpu" else rows
        pieces = []
        for start in range(0, rows, tile_rows):
            tile = slice(start, start + tile_rows)
            valid_TL = None if valid_BL is None else valid_BL[tile]
            hidden_TLD = self.backbone(xt_BL[tile], noise_B[tile], valid_TL)
            alpha_TL = level.alpha[tile, None].expand(-1, length)
            values = (hidden_TLD, xt_BL[tile], alpha_TL, *(values_BL[tile] for values_BL in tokenwise_BL))
            selected_N = slice(None) if selected_BL is None else selected_BL[tile].flatten()
            hidden_ND, xt_N, alpha_N, *tokenwise_N = (some.flatten(0, 1)[selected_N] for some in values)
            for chunk in chunk_slices(len(xt_N), self.process.num_states, chunk_elements(xt_N.device)):
                logits_CV = self.process.leave_one_out_logits(
                    self.backbone.head(hidden_ND[chunk]), xt_N[chunk], alpha_N[chunk], self.parameterization
                )
                pieces.append(reduce(logits_CV, xt_N[chunk], *(values[chunk] for values in tokenwise_N)))
        reduced = tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))
        return reduced if selected_BL is not None else tuple(values_N.view_as(xt_BL) for values_N in reduced)

    @torch.no_grad()
    def predict_at(self, xt_BL: Tensor, position_B: Tensor, t_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Return leave-one-out log-probabilities (B, V) at one position of each row.

        Args:
            xt_BL: int64 noisy ids.
            position_B: int64 positions in [0, L).
            t_B: times in [0, 1].
            valid_BL: False at padding; None if every position is valid.
        """
        level = self.process.level(t_B)
        hidden_BLD = self.backbone(xt_BL, self.process.noise_input(level.alpha), valid_BL)
        rows = torch.arange(len(xt_BL), device=xt_BL.device)
        logits_BV = self.backbone.head(hidden_BLD[rows, position_B])
        return self.process.leave_one_out(logits_BV, xt_BL[rows, position_B], level.alpha, self.parameterization)
