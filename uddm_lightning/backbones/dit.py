"""The diffusion transformer (DiT) of the paper.

Peebles and Xie 2023, arXiv 2212.09748, on tokens as in Lou et al. 2024 (SEDD), Sahoo et al. 2024 (MDLM) and Duo.
Parameter names follow Duo's released checkpoints.

Shapes: B rows, L positions, N tokens, V ids, D hidden_size features, C cond_dim features, H heads, K features a head.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.backbones.base import SoftBackbone
from uddm_lightning.core.batch import SoftTokens


class TokenEmbedding(nn.Module):
    """Looks ids up in a table that is not shared with the output layer."""

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
        # sums up without a tensor of K features for each token
        mixed_ND = F.embedding_bag(ids_NK, self.embedding, mode="sum", per_sample_weights=weights_NK)
        return mixed_ND.view(*tokens.ids_BLK.shape[:2], -1)


class NoiseEmbedding(nn.Module):
    """Sinusoids of the noise level through a small MLP."""

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
    """Rotations of query and key features by their position (Su et al. 2021, arXiv 2104.09864)."""

    inv_freq: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1e4 ** -(torch.arange(0, features, 2) / features), persistent=False)

    @override
    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines of both halves of the features, (L, K), and sines with the signs of a rotation, (L, K)."""
        angles = torch.arange(length, device=self.inv_freq.device, dtype=self.inv_freq.dtype)[:, None] * self.inv_freq
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)


def _rotate(features: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    first, second = features.chunk(2, dim=-1)
    return torch.addcmul(features * cos_LK, torch.cat([second, first], dim=-1), sin_LK)


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the noise level (adaLN-zero)."""

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
        q, k = _rotate(qkv[:2], cos_LK.to(qkv.dtype), sin_LK.to(qkv.dtype))
        attended = F.scaled_dot_product_attention(q, k, qkv[2], mask)
        attended = self.attn_out(rearrange(attended, "b h l k -> b l (h k)"))
        x_BLD = torch.addcmul(x_BLD, gate_a, F.dropout(attended, self.dropout, self.training))

        mixed = self.mlp(torch.addcmul(shift_m, self.norm2(x_BLD), 1 + scale_m))
        return torch.addcmul(x_BLD, gate_m, F.dropout(mixed, self.dropout, self.training))


class OutputLayer(nn.Module):
    """Last norm, shifted and scaled by the noise level, and the projection to the vocabulary."""

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
    """Diffusion transformer with adaptive layer norm, rotary attention and untied embedding.

    Args:
        vocab_size: V, number of ids.
        hidden_size: D, width; a multiple of 2 x `n_heads`, with an even number of features a head.
        n_blocks: number of transformer blocks.
        n_heads: attention heads.
        cond_dim: width of the noise embedding.
        dropout: probability in [0, 1) of dropping a feature of a residual branch.
        embedding_init_std: standard deviation of the initial embedding; None for Duo's uniform initialisation.
        gate_init: initial value of the residual gates; 0 is adaLN-zero, at which a block starts as the identity.
    """

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
    ) -> None:
        super().__init__(vocab_size)
        for name, value in {
            "hidden_size": hidden_size,
            "n_blocks": n_blocks,
            "n_heads": n_heads,
            "cond_dim": cond_dim,
        }.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if hidden_size % (2 * n_heads):
            raise ValueError(f"`hidden_size` must be a multiple of 2 x `n_heads` = {2 * n_heads}, got {hidden_size}.")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"`dropout` must be in [0, 1), got {dropout}.")
        if embedding_init_std is not None and not embedding_init_std > 0.0:
            raise ValueError(f"`embedding_init_std` must be above 0, got {embedding_init_std}.")
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size, embedding_init_std)
        self.sigma_map = NoiseEmbedding(cond_dim)
        self.rotary_emb = RotaryEmbedding(hidden_size // n_heads)
        self.blocks = nn.ModuleList(Block(hidden_size, n_heads, cond_dim, dropout, gate_init) for _ in range(n_blocks))
        self.output_layer = OutputLayer(vocab_size, hidden_size, cond_dim)

    @override
    def forward(self, tokens: Tensor | SoftTokens, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        x_BLD = self.vocab_embed(tokens)
        noise_BC = self.sigma_map(sigma_B)
        cos_LK, sin_LK = self.rotary_emb(x_BLD.shape[1])
        # a row without any valid position (a filler) may attend everywhere: a softmax over nothing would be NaN
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
