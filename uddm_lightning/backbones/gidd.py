"""Transformer of gidd-unif and gidd-mask: RMS norm, soft-capped attention, squared ReLU, no noise input.

Source: von Rütte et al. 2025, arXiv 2512.10858; layout of https://github.com/dvruette/gidd-easydel. Parameter names are
those of the published folders without their prefix `model.`.

Shapes: B rows, L positions, N tokens, V ids, D hidden_size features, H heads, K features per head.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.core.errors import check_at_least


class RMSNorm(nn.Module):
    """Division by the root mean square, times 1 + weight; in float32 or float64."""

    def __init__(self, features: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features))
        self.eps = eps

    @override
    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * (1.0 + self.weight)).to(x.dtype)


class ScaledLinear(nn.Linear):
    """Linear map whose product, without the bias, is multiplied by a constant; None is 1 / sqrt(in_features)."""

    def __init__(self, in_features: int, out_features: int, scale: float | None, bias: bool, std: float) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale = in_features**-0.5 if scale is None else scale
        nn.init.normal_(self.weight, std=std)
        if bias:
            nn.init.zeros_(self.bias)

    @override
    def forward(self, input: Tensor) -> Tensor:
        product = F.linear(input, self.weight) * self.scale
        return product if self.bias is None else product + self.bias.to(product.dtype)


class Attention(nn.Module):
    """Attention over all positions, with normalized queries and keys and logits limited to +-`soft_cap`.

    With `bias`, every position also attends to one learned key and value that are not rotated.
    """

    def __init__(
        self,
        hidden_size: int,
        n_heads: int,
        soft_cap: float,
        qk_norm: bool,
        bias: bool,
        scale: float | None,
        eps: float,
    ) -> None:
        super().__init__()
        self.n_heads, self.soft_cap = n_heads, soft_cap
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            ScaledLinear(hidden_size, hidden_size, scale, bias=False, std=0.4) for _ in range(4)
        )
        self.q_norm, self.k_norm = (RMSNorm(hidden_size, eps) if qk_norm else None for _ in range(2))
        shape = (n_heads, hidden_size // n_heads)
        self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(shape)) if bias else None for _ in range(2))

    @override
    def forward(self, x_BLD: Tensor, cos_LK: Tensor, sin_LK: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.q_proj(x_BLD), self.k_proj(x_BLD), self.v_proj(x_BLD)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (rearrange(one, "b l (h k) -> b h l k", h=self.n_heads) for one in (q, k, v))
        q, k = _rotate(q, cos_LK, sin_LK), _rotate(k, cos_LK, sin_LK)
        if self.k_bias is not None and self.v_bias is not None:
            k, v = (
                torch.cat([one[None, :, None].expand(len(x_BLD), -1, 1, -1).to(all_.dtype), all_], 2)
                for one, all_ in ((self.k_bias, k), (self.v_bias, v))
            )
            mask = None if mask is None else F.pad(mask, (1, 0), value=True)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        logits = self.soft_cap * torch.tanh(logits / self.soft_cap)
        if mask is not None:
            logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
        weights = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).to(v.dtype)
        attended: Tensor = self.o_proj(rearrange(weights @ v, "b h l k -> b l (h k)"))
        return attended


class MLP(nn.Module):
    """Two linear maps with the square of a ReLU between them."""

    def __init__(self, hidden_size: int, mlp_size: int, scale: float | None, bias: bool) -> None:
        super().__init__()
        self.up_proj = ScaledLinear(hidden_size, mlp_size, scale, bias, 0.4)
        self.down_proj = ScaledLinear(mlp_size, hidden_size, scale, bias, 0.4)

    @override
    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.down_proj(F.relu(self.up_proj(x)).square())
        return mixed


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and multiplied by `scale` before it is added."""

    def __init__(self, attention: Attention, mlp: MLP, hidden_size: int, eps: float, scale: float) -> None:
        super().__init__()
        self.self_attn, self.mlp, self.scale = attention, mlp, scale
        self.attn_layernorm, self.mlp_layernorm = RMSNorm(hidden_size, eps), RMSNorm(hidden_size, eps)

    @override
    def forward(self, x_BLD: Tensor, cos_LK: Tensor, sin_LK: Tensor, mask: Tensor | None) -> Tensor:
        x_BLD = x_BLD + self.scale * self.self_attn(self.attn_layernorm(x_BLD), cos_LK, sin_LK, mask)
        summed: Tensor = x_BLD + self.scale * self.mlp(self.mlp_layernorm(x_BLD))
        return summed


class GiddTransformer(Backbone):
    """Transformer of gidd-unif and gidd-mask. It reads noisy ids alone, no noise level.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token of an absorbing process.
        hidden_size: D, number of features; a multiple of 2 x `n_heads`.
        n_blocks: number of layers, at least 1.
        n_heads: number of attention heads, at least 1.
        mlp_size: number of features between the two maps of the MLP, at least 1.
        soft_cap: limit of the attention logits, above 0.
        residual_scale: factor of all layers together; each has `residual_scale` / `n_blocks`.
        qk_norm: whether queries and keys are normalized, over all heads together.
        attention_bias: whether every position also attends to a learned key and value.
        mlp_bias: whether the maps of the MLP have a bias.
        weight_scale: factor of the linear maps; None is 1 / sqrt(number of their inputs).
        head_scale: factor of the logits of an output layer of its own.
        tied: whether the output layer is the table of embeddings.
        rope_base: base of the frequencies of the rotary embedding, above 0.
        norm_eps: added to mean squares, above 0.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import GiddTransformer
        >>> backbone = GiddTransformer(27, hidden_size=32, n_blocks=2, n_heads=4, mlp_size=64)
        >>> hidden_BLD = backbone(torch.zeros(2, 8, dtype=torch.int64), torch.tensor([0.1, 3.0]))
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
        mlp_size: int = 1024,
        soft_cap: float = 30.0,
        residual_scale: float = 4.0,
        qk_norm: bool = True,
        attention_bias: bool = False,
        mlp_bias: bool = False,
        weight_scale: float | None = None,
        head_scale: float = 1.0,
        tied: bool = False,
        rope_base: float = 1e4,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__(vocab_size)
        check_at_least(1, hidden_size=hidden_size, n_blocks=n_blocks, n_heads=n_heads, mlp_size=mlp_size)
        if hidden_size % (2 * n_heads):
            raise ValueError(f"`hidden_size` must be a multiple of 2 x `n_heads` = {2 * n_heads}, got {hidden_size}.")
        for name, value in (("soft_cap", soft_cap), ("rope_base", rope_base), ("norm_eps", norm_eps)):
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"`{name}` must be above 0, got {value}.")
        self.embed_tokens = nn.Embedding(vocab_size, hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.1)
        self.rope_base, self.head_size = rope_base, hidden_size // n_heads
        self.layers = nn.ModuleList(
            Layer(
                Attention(hidden_size, n_heads, soft_cap, qk_norm, attention_bias, weight_scale, norm_eps),
                MLP(hidden_size, mlp_size, weight_scale, mlp_bias),
                hidden_size,
                norm_eps,
                residual_scale / n_blocks,
            )
            for _ in range(n_blocks)
        )
        self.norm = RMSNorm(hidden_size, norm_eps)
        self.lm_head = None if tied else ScaledLinear(hidden_size, vocab_size, head_scale, False, 0.02)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        x_BLD: Tensor = self.embed_tokens(tokens_BL)
        exact, length = torch.promote_types(x_BLD.dtype, torch.float32), tokens_BL.shape[1]
        places = torch.arange(max(length, self.head_size), device=tokens_BL.device, dtype=exact)
        frequencies = self.rope_base ** -(places[: self.head_size : 2] / self.head_size)
        angles = torch.cat([places[:length, None] * frequencies] * 2, 1)
        cos_LK, sin_LK = angles.cos().to(x_BLD.dtype), angles.sin().to(x_BLD.dtype)
        mask = None
        if valid_BL is not None:  # a filler row without valid positions attends everywhere
            mask = (valid_BL | ~valid_BL.any(dim=1, keepdim=True))[:, None, None]
        for layer in self.layers:
            x_BLD = layer(x_BLD, cos_LK, sin_LK, mask)
        hidden_BLD: Tensor = self.norm(x_BLD)
        return hidden_BLD

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        if self.lm_head is None:
            return hidden_ND @ self.embed_tokens.weight.T
        logits_NV: Tensor = self.lm_head(hidden_ND)
        return logits_NV


def _rotate(x: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    """Rotate the pairs of features k and k + K / 2."""
    first, second = x.chunk(2, -1)
    return x * cos_LK + torch.cat([-second, first], -1) * sin_LK
