"""Denoiser: leave-one-out predictions of a backbone in bounded memory.

Shapes: B rows, L positions, N = B * L tokens, C tokens in a chunk, M selected tokens, K rows with a selected token,
T rows in a tile, V ids, D features.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices
from uddm_lightning.core import devices
from uddm_lightning.core.errors import check_within
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import Process
from uddm_lightning.samplers.graphed_network import replay_graphs

# Tokens per network evaluation on a CPU: few enough that their features stay in the cache, and that the allocator
# reuses its memory pages.
TILE_TOKENS = 2**10
# On a GPU, smaller network evaluations and projections take the same time, and each shape costs planning.
SMALLEST_ROWS, SMALLEST_TOKENS = 8, 128


class Denoiser:
    """Process, backbone and parameterization: everything that samplers and probes need to predict clean tokens.

    Args:
        process: forward process.
        backbone: backbone in evaluation mode. Predictions have the dtype of its output.
        parameterization: distribution that the outputs of the backbone parameterize.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.core.parameterization import Parameterization
        >>> from uddm_lightning.processes import UniformProcess
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
        self.network = replay_graphs(backbone)
        self.temperature = 1.0

    def at_temperature(self, temperature: float) -> "Denoiser":
        """Return a denoiser with predictions proportional to p^(1 / temperature), with p those of this one.

        Args:
            temperature: T, in (0, inf). 1 leaves the predictions as they are.

        Raises:
            ValueError: the temperature is out of range.
        """
        check_within("(0, inf)", temperature=temperature)
        other = copy.copy(self)
        other.temperature = self.temperature * temperature
        return other

    @torch.no_grad()
    def __call__(
        self,
        reduce: Callable[..., tuple[Tensor, ...]],
        xt_BL: Tensor,
        t_B: Tensor,
        valid_BL: Tensor | None,
        *tokenwise_BL: Tensor,
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

        Returns:
            Reductions, each (B, L).
        """
        level = self.process.level(t_B)
        noise_B = self.process.noise_input(level.alpha)
        alpha_BL = level.alpha[:, None].expand_as(xt_BL)
        pieces: list[tuple[Tensor, ...]] = []
        for tile in _tiles(len(xt_BL), xt_BL):
            hidden_TLD = self.backbone(xt_BL[tile], noise_B[tile], None if valid_BL is None else valid_BL[tile])
            values = (xt_BL[tile], alpha_BL[tile], *(values_BL[tile] for values_BL in tokenwise_BL))
            pieces += self._reduce(reduce, hidden_TLD.flatten(0, 1), *(some_TL.flatten() for some_TL in values))
        return tuple(torch.cat(parts).view_as(xt_BL) for parts in zip(*pieces, strict=True))

    @torch.no_grad()
    def replace(
        self,
        step: Callable[[Tensor, Tensor, Tensor], Tensor],
        x_BL: Tensor,
        t_B: Tensor,
        valid_BL: Tensor | None,
        keys_BL: Tensor,
        selected_BL: Tensor,
    ) -> None:
        """Replace selected ids, in place. The network evaluates only rows with a selected token.

        On an asynchronous device it evaluates further rows and tokens, so that their numbers are powers of two or all
        of them: libraries plan for each new shape. The host reads at most two numbers.

        Args:
            step: function of leave-one-out logits (C, V), ids (C,) and noise keys (C,), which returns new ids (C,).
            x_BL: contiguous int64 ids, modified in place.
            t_B: times in [0, 1].
            valid_BL: False at padding; None if every position is valid.
            keys_BL: int64 noise keys.
            selected_BL: bool, tokens to replace.
        """
        length, x_N, selected_N = x_BL.shape[1], x_BL.view(-1), selected_BL.flatten()
        level = self.process.level(t_B)
        noise_B = self.process.noise_input(level.alpha)
        some_K = devices.true_indices(selected_BL.any(1), SMALLEST_ROWS)
        for tile in _tiles(len(some_K), x_BL):
            rows_T = some_K[tile]
            at_M = devices.true_indices(selected_BL[rows_T].flatten(), SMALLEST_TOKENS)
            tokens_M = rows_T[at_M // length] * length + at_M % length
            valid_TL = None if valid_BL is None else valid_BL[rows_T]
            hidden_MD = self.network(x_BL[rows_T], noise_B[rows_T], valid_TL).flatten(0, 1)[at_M]
            before_M, alpha_M = x_N[tokens_M], level.alpha[tokens_M // length]
            chunks = self._reduce(
                lambda *values: (step(*values),), hidden_MD, before_M, alpha_M, keys_BL.flatten()[tokens_M]
            )
            after_M = torch.cat([ids_C for (ids_C,) in chunks])
            x_N[tokens_M] = torch.where(selected_N[tokens_M], after_M, before_M)

    def _reduce(
        self,
        reduce: Callable[..., tuple[Tensor, ...]],
        hidden_ND: Tensor,
        xt_N: Tensor,
        alpha_N: Tensor,
        *tokenwise_N: Tensor,
    ) -> list[tuple[Tensor, ...]]:
        """Return the reductions of each chunk of tokens."""
        pieces = []
        for chunk in chunk_slices(len(xt_N), self.process.num_states, chunk_elements(xt_N.device)):
            logits_CV = self.process.leave_one_out_logits(
                self.backbone.head(hidden_ND[chunk]), xt_N[chunk], alpha_N[chunk], self.parameterization
            )
            logits_CV = logits_CV if self.temperature == 1.0 else logits_CV / self.temperature
            pieces.append(reduce(logits_CV, xt_N[chunk], *(values_N[chunk] for values_N in tokenwise_N)))
        return pieces

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
        logp_BV = self.process.leave_one_out(logits_BV, xt_BL[rows, position_B], level.alpha, self.parameterization)
        return logp_BV if self.temperature == 1.0 else (logp_BV / self.temperature).log_softmax(1)


def _tiles(rows: int, x_BL: Tensor) -> list[slice]:
    """Return the slices of some rows that the network evaluates at once."""
    size = rows if devices.is_asynchronous(x_BL.device) else TILE_TOKENS // x_BL.shape[1]
    return [slice(start, start + max(1, size)) for start in range(0, rows, max(1, size))]
