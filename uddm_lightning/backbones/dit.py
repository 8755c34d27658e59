"""Diffusion transformer (DiT) for tokens.

Source: Peebles and Xie 2023, arXiv 2212.09748; for tokens Lou et al. 2024 (SEDD), Sahoo et al. 2024 (MDLM) and Sahoo et
al. 2025 (Duo). Parameter names are those of the released checkpoints of Duo.

Shapes: B rows, L positions, N tokens, V ids, D hidden_size features, C cond_dim features, H heads, K features per head.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.backbones.base import SoftBackbone
from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.core.errors import check_at_least, check_within


class TokenEmbedding(nn.Module):
    """Token embedding. Its table is not shared with the output layer."""

    def __init__(self, vocab_size: int, hidden_size: int, std: float | None) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocab_size, hidden_size))
        if std is None:
            nn.init.kaiming_uniform_(self.embedding, a=math.sqrt(5))
        else:
            nn.init.normal_(self.embedding, std=std)

    @override
    def forward(self, tokens: Tensor | SoftTokens) -> Tensor:
        if isinstance(tokens, Tensor):
            return F.embedding(tokens, self.embedding)
        ids_NK, weights_NK = (part.flatten(0, 1) for part in tokens)
        weights_NK = weights_NK.to(self.embedding.dtype)
        # embedding_bag sums without a tensor of K embeddings per token
        mixed_ND = F.embedding_bag(ids_NK, self.embedding, mode="sum", per_sample_weights=weights_NK)
        return mixed_ND.view(*tokens.ids_BLK.shape[:2], -1)


class NoiseEmbedding(nn.Module):
    """Embedding of the noise level: sinusoids followed by an MLP."""

    frequencies: Tensor

    def __init__(self, cond_dim: int, width: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, cond_dim), nn.SiLU(), nn.Linear(cond_dim, cond_dim))
        half = width // 2
        self.register_buffer("frequencies", torch.exp(-math.log(1e4) * torch.arange(half) / half), persistent=False)

    @override
    def forward(self, sigma_B: Tensor) -> Tensor:
        angles = sigma_B[:, None].to(self.frequencies.dtype) * self.frequencies
        return F.silu(self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1)))


class RotaryEmbedding(nn.Module):
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864)."""

    inv_freq: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1e4 ** -(torch.arange(0, features, 2) / features), persistent=False)

    @override
    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Return the cosines (L, K) and the signed sines (L, K) that rotate query and key features."""
        angles = torch.arange(length, device=self.inv_freq.device, dtype=self.inv_freq.dtype)[:, None] * self.inv_freq
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)


def rotate(features: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    """Return features (..., L, K) rotated by the angles of their positions, from `RotaryEmbedding`."""
    first, second = features.chunk(2, dim=-1)
    return torch.addcmul(features * cos_LK, torch.cat([second, first], dim=-1), sin_LK)


class Block(nn.Module):
    """Transformer block: attention and MLP, with shift, scale and gate from the noise level (adaLN-zero)."""

    def __init__(self, hidden_size: int, n_heads: int, cond_dim: int, dropout: float, gate_init: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(hidden_size, bias=False)
        self.attn_qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attn_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = nn.LayerNorm(hidden_size, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.adaLN_modulation = nn.Linear(cond_dim, 6 * hidden_size)
        nn.init.zeros_(self.adaLN_modulation.weight)
        nn.init.zeros_(self.adaLN_modulation.bias)
        with torch.no_grad():
            bias = self.adaLN_modulation.bias.view(6, hidden_size)
            bias[2], bias[5] = gate_init, gate_init

    @override
    def forward(self, x_BLD: Tensor, noise_BC: Tensor, cos_LK: Tensor, sin_LK: Tensor, mask: Tensor | None) -> Tensor:
        modulation = self.adaLN_modulation(noise_BC)[:, None].chunk(6, dim=2)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation

        qkv = self.attn_qkv(torch.addcmul(shift_a, self.norm1(x_BLD), 1 + scale_a))
        qkv = rearrange(qkv, "b l (three h k) -> three b h l k", three=3, h=self.n_heads)
        q, k = rotate(qkv[:2], cos_LK.to(qkv.dtype), sin_LK.to(qkv.dtype))
        attended = F.scaled_dot_product_attention(q, k, qkv[2], mask)
        attended = self.attn_out(rearrange(attended, "b h l k -> b l (h k)"))
        x_BLD = torch.addcmul(x_BLD, gate_a, F.dropout(attended, self.dropout, self.training))

        mixed = self.mlp(torch.addcmul(shift_m, self.norm2(x_BLD), 1 + scale_m))
        return torch.addcmul(x_BLD, gate_m, F.dropout(mixed, self.dropout, self.training))


class OutputLayer(nn.Module):
    """Final layer norm, with shift and scale from the noise level, and projection to the vocabulary."""

    def __init__(self, vocab_size: int, hidden_size: int, cond_dim: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(hidden_size, bias=False)
        self.linear = nn.Linear(hidden_size, vocab_size)
        self.adaLN_modulation = nn.Linear(cond_dim, 2 * hidden_size)
        for layer in (self.linear, self.adaLN_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @override
    def forward(self, x_BLD: Tensor, noise_BC: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(noise_BC)[:, None].chunk(2, dim=2)
        return torch.addcmul(shift, self.norm_final(x_BLD), 1 + scale)


class DiT(SoftBackbone):
    """Diffusion transformer with adaptive layer norm, rotary attention and untied embeddings.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        hidden_size: D, number of features; a multiple of 2 x `n_heads`.
        n_blocks: number of transformer blocks, at least 1.
        n_heads: number of attention heads, at least 1.
        cond_dim: number of features of the noise embedding, at least 1.
        dropout: dropout probability of the residual branches, in [0, 1).
        embedding_init_std: standard deviation of the initial embeddings, above 0; None for the uniform initialisation
            of Duo.
        gate_init: initial value of the residual gates. With 0 (adaLN-zero) every block starts as the identity.
        time_conditioning: whether the network receives the noise level; if not, it receives 0 in its place (MDLM).

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> backbone = DiT(27, hidden_size=32, n_blocks=2, n_heads=4, cond_dim=16)
        >>> hidden_BLD = backbone(torch.zeros(2, 8, dtype=torch.int64), torch.tensor([0.1, 3.0]))
        >>> hidden_BLD.shape
        torch.Size([2, 8, 32])
        >>> backbone.head(hidden_BLD[:, 0]).shape
        torch.Size([2, 27])
    """

    capturable = True

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 256,
        n_blocks: int = 8,
        n_heads: int = 8,
        cond_dim: int = 128,
        dropout: float = 0.1,
        embedding_init_std: float | None = None,
        gate_init: float = 0.0,
        time_conditioning: bool = True,
    ) -> None:
        super().__init__(vocab_size)
        check_at_least(1, hidden_size=hidden_size, n_blocks=n_blocks, n_heads=n_heads, cond_dim=cond_dim)
        if hidden_size % (2 * n_heads):
            raise ValueError(f"`hidden_size` must be a multiple of 2 x `n_heads` = {2 * n_heads}, got {hidden_size}.")
        check_within("[0, 1)", dropout=dropout)
        if embedding_init_std is not None and not embedding_init_std > 0.0:
            raise ValueError(f"`embedding_init_std` must be above 0, got {embedding_init_std}.")
        self.time_conditioning = time_conditioning
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size, embedding_init_std)
        self.sigma_map = NoiseEmbedding(cond_dim)
        self.rotary_emb = RotaryEmbedding(hidden_size // n_heads)
        self.blocks = nn.ModuleList(Block(hidden_size, n_heads, cond_dim, dropout, gate_init) for _ in range(n_blocks))
        self.output_layer = OutputLayer(vocab_size, hidden_size, cond_dim)

    @override
    def forward(self, tokens: Tensor | SoftTokens, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        x_BLD = self.vocab_embed(tokens)
        noise_BC = self.sigma_map(sigma_B if self.time_conditioning else torch.zeros_like(sigma_B))
        cos_LK, sin_LK = self.rotary_emb(x_BLD.shape[1])
        # a filler row without valid positions attends everywhere, because a softmax over an empty set is NaN
        mask = None
        if valid_BL is not None:
            mask = (valid_BL | ~valid_BL.any(dim=1, keepdim=True))[:, None, None]
        for block in self.blocks:
            x_BLD = block(x_BLD, noise_BC, cos_LK, sin_LK, mask)
        hidden_BLD: Tensor = self.output_layer(x_BLD, noise_BC)
        return hidden_BLD

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        logits_NV: Tensor = self.output_layer.linear(hidden_ND)
        return logits_NV
