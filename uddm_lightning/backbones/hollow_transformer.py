"""Hollow transformer: the prediction at a position does not depend on the token there.

Shapes: B rows, L positions, N tokens, V ids, D hidden_size features, C cond_dim features, H heads, K features per head,
W window.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.backbones.base import SoftBackbone
from uddm_lightning.backbones.dit import NoiseEmbedding, OutputLayer, RotaryEmbedding, TokenEmbedding, rotate
from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.core.errors import check_at_least, check_within
from uddm_lightning.core.parameterization import Parameterization


class HollowBlock(nn.Module):
    """Attention to the embeddings of all other positions, and an MLP, with shift, scale and gate from the noise level.

    Keys and values are functions of single embeddings, in every block. Those of features that have attended would
    contain the token that the position must not see.
    """

    def __init__(self, hidden_size: int, n_heads: int, cond_dim: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(hidden_size, bias=False)
        self.attn_q = nn.Linear(hidden_size, hidden_size, bias=False)
        self.attn_kv = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.attn_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = nn.LayerNorm(hidden_size, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, mlp_ratio * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(mlp_ratio * hidden_size, hidden_size),
        )
        self.adaLN_modulation = nn.Linear(cond_dim, 6 * hidden_size)
        nn.init.zeros_(self.adaLN_modulation.weight)
        nn.init.zeros_(self.adaLN_modulation.bias)
        with torch.no_grad():  # open gates
            self.adaLN_modulation.bias.view(6, hidden_size)[[2, 5]] = 1.0

    @override
    def forward(
        self, x_BLD: Tensor, tokens_BLD: Tensor, noise_BC: Tensor, cos_LK: Tensor, sin_LK: Tensor, mask: Tensor
    ) -> Tensor:
        modulation = self.adaLN_modulation(noise_BC)[:, None].chunk(6, dim=2)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation

        q = self.attn_q(torch.addcmul(shift_a, self.norm1(x_BLD), 1 + scale_a))
        q = rearrange(q, "b l (h k) -> b h l k", h=self.n_heads)
        k, v = rearrange(self.attn_kv(tokens_BLD), "b l (two h k) -> two b h l k", two=2, h=self.n_heads)
        cos_LK, sin_LK = cos_LK.to(q.dtype), sin_LK.to(q.dtype)
        q, k = rotate(q, cos_LK, sin_LK), rotate(k, cos_LK, sin_LK)
        # an additional key and value of zeros, so that a position without valid others attends to something
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        attended = F.scaled_dot_product_attention(q, k, v, mask)
        attended = self.attn_out(rearrange(attended, "b h l k -> b l (h k)"))
        x_BLD = torch.addcmul(x_BLD, gate_a, F.dropout(attended, self.dropout, self.training))

        mixed = self.mlp(torch.addcmul(shift_m, self.norm2(x_BLD), 1 + scale_m))
        return torch.addcmul(x_BLD, gate_m, F.dropout(mixed, self.dropout, self.training))


class HollowTransformer(SoftBackbone):
    """Transformer whose logits at a position are a function of all other tokens and of the noise level.

    Its output is therefore a leave-one-out prediction p(x_0^l | x_t without x_t^l), with any objective and any weights.
    With `DenoisingCrossEntropy` it learns from every token of a row. Networks that see x_t^l learn little from the
    tokens that the noise has not changed, because these are known.

    The features of a position begin as a linear function of the nearest tokens on both sides. Each block attends to the
    embeddings of all other tokens, and has as many parameters as a block of `DiT` (with `mlp_ratio` 4).

    Source: Sun et al. 2023, arXiv 2211.16750, introduce hollow transformers, and Zhao et al. 2024, arXiv 2407.21243,
    train them for masked diffusion. Those read a row from both ends; this one has a single stream.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        hidden_size: D, number of features; a multiple of 2 x `n_heads`.
        n_blocks: number of blocks, at least 1.
        n_heads: number of attention heads, at least 1.
        cond_dim: number of features of the noise embedding, at least 1.
        window: W, number of nearest tokens on each side from which the features of a position begin, at least 1.
        mlp_ratio: width of the MLP relative to D, at least 1.
        dropout: dropout probability of the residual branches, in [0, 1).
        embedding_init_std: standard deviation of the initial embeddings, above 0; None for the uniform initialisation
            of Duo.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import HollowTransformer
        >>> backbone = HollowTransformer(27, hidden_size=32, n_blocks=1, n_heads=4, cond_dim=16).eval()
        >>> rows_BL = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 5, 0, 0, 0]])
        >>> one_LD, other_LD = backbone(rows_BL, torch.ones(2))
        >>> (one_LD == other_LD).all(dim=1).tolist()
        [False, False, True, False, False, False]
    """

    parameterization = Parameterization.LEAVE_ONE_OUT
    capturable = True

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 256,
        n_blocks: int = 8,
        n_heads: int = 8,
        cond_dim: int = 128,
        window: int = 6,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        embedding_init_std: float | None = None,
    ) -> None:
        super().__init__(vocab_size)
        check_at_least(1, hidden_size=hidden_size, n_blocks=n_blocks, n_heads=n_heads, cond_dim=cond_dim)
        check_at_least(1, window=window, mlp_ratio=mlp_ratio)
        if hidden_size % (2 * n_heads):
            raise ValueError(f"`hidden_size` must be a multiple of 2 x `n_heads` = {2 * n_heads}, got {hidden_size}.")
        check_within("[0, 1)", dropout=dropout)
        if embedding_init_std is not None and not embedding_init_std > 0.0:
            raise ValueError(f"`embedding_init_std` must be above 0, got {embedding_init_std}.")
        self.window = window
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size, embedding_init_std)
        self.sigma_map = NoiseEmbedding(cond_dim)
        self.rotary_emb = RotaryEmbedding(hidden_size // n_heads)
        self.neighbours = nn.Linear(2 * window * hidden_size, hidden_size)
        self.norm_tokens = nn.LayerNorm(hidden_size, bias=False)
        self.blocks = nn.ModuleList(
            HollowBlock(hidden_size, n_heads, cond_dim, mlp_ratio, dropout) for _ in range(n_blocks)
        )
        self.output_layer = OutputLayer(vocab_size, hidden_size, cond_dim)

    @override
    def forward(self, tokens: Tensor | SoftTokens, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        tokens_BLD = self.vocab_embed(tokens)
        length = tokens_BLD.shape[1]
        noise_BC = self.sigma_map(sigma_B)
        cos_LK, sin_LK = self.rotary_emb(length)
        if valid_BL is not None:  # padding is seen as what lies outside of the row
            tokens_BLD = tokens_BLD * valid_BL[:, :, None]
        x_BLD = self.neighbours(self._neighbours(tokens_BLD))
        mask = _other_positions(length, valid_BL, tokens_BLD.device)
        tokens_BLD = self.norm_tokens(tokens_BLD)
        for block in self.blocks:
            x_BLD = block(x_BLD, tokens_BLD, noise_BC, cos_LK, sin_LK, mask)
        hidden_BLD: Tensor = self.output_layer(x_BLD, noise_BC)
        return hidden_BLD

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        logits_NV: Tensor = self.output_layer.linear(hidden_ND)
        return logits_NV

    def _neighbours(self, tokens_BLD: Tensor) -> Tensor:
        """Return the embeddings of the nearest tokens of each position, (B, L, 2 W D); zeros outside of the row."""
        length, window = tokens_BLD.shape[1], self.window
        padded = F.pad(tokens_BLD, (0, 0, window, window))
        offsets = [offset for offset in range(2 * window + 1) if offset != window]
        return torch.cat([padded[:, offset : offset + length] for offset in offsets], dim=2)


def _other_positions(length: int, valid_BL: Tensor | None, device: torch.device) -> Tensor:
    """Return where a position may attend: to other valid positions, and to the additional key at the end.

    Returns:
        bool (L, L + 1), or (B, 1, L, L + 1) with `valid_BL`.
    """
    mask = ~torch.eye(length, dtype=torch.bool, device=device)
    if valid_BL is not None:
        mask = mask & valid_BL[:, None, None]
    return F.pad(mask, (0, 1), value=True)
