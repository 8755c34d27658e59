"""The transformer of gidd: against an implementation with loops over positions and heads, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from uddm_lightning.backbones import GiddTransformer

V, L, D, H, M = 9, 5, 12, 3, 20
ARRAY = NDArray[np.float64]


def network(**options: Any) -> GiddTransformer:
    torch.manual_seed(0)
    made = GiddTransformer(V, D, 2, H, M, **options).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    return made


def slow_logits(
    w: dict[str, ARRAY],
    tokens: list[int],
    cap: float = 30.0,
    residual: float = 4.0,
    weight_scale: float | None = None,
    head_scale: float = 1.0,
    base: float = 1e4,
    eps: float = 1e-6,
) -> ARRAY:
    """Return logits (L, V); the options are read off the names of the weights."""

    def norm(x: ARRAY, gain: ARRAY) -> ARRAY:
        scaled: ARRAY = x / np.sqrt((x**2).mean() + eps) * (1 + gain)
        return scaled

    def linear(name: str, x: ARRAY) -> ARRAY:
        y = w[name + ".weight"] @ x * (len(x) ** -0.5 if weight_scale is None else weight_scale)
        shifted: ARRAY = y + w.get(name + ".bias", 0.0)
        return shifted

    def turned(x: ARRAY, place: int) -> ARRAY:
        """Multiply x[k] + i x[k + K / 2] by exp(i place base^(-2 k / K))."""
        half = len(x) // 2
        z = (x[:half] + 1j * x[half:]) * np.exp(1j * place * base ** (-2 * np.arange(half) / len(x)))
        return np.concatenate([z.real, z.imag])

    xs = [w["embed_tokens.weight"][token] for token in tokens]
    for n in range(2):
        at, size = f"layers.{n}.", D // H
        ins = [norm(x, w[at + "attn_layernorm.weight"]) for x in xs]
        q, k, v = ([linear(at + f"self_attn.{name}_proj", x) for x in ins] for name in "qkv")
        if at + "self_attn.q_norm.weight" in w:
            q = [norm(x, w[at + "self_attn.q_norm.weight"]) for x in q]
            k = [norm(x, w[at + "self_attn.k_norm.weight"]) for x in k]
        outs = []
        for i in range(len(xs)):
            heads = []
            for h in range(H):
                of = slice(h * size, (h + 1) * size)
                scores = [turned(q[i][of], i) @ turned(k[j][of], j) / size**0.5 for j in range(len(xs))]
                values = [v[j][of] for j in range(len(xs))]
                if at + "self_attn.k_bias" in w:
                    scores.append(turned(q[i][of], i) @ w[at + "self_attn.k_bias"][h] / size**0.5)
                    values.append(w[at + "self_attn.v_bias"][h])
                p = np.exp(cap * np.tanh(np.array(scores) / cap))
                heads.append((p / p.sum()) @ np.array(values))
            outs.append(linear(at + "self_attn.o_proj", np.concatenate(heads)))
        xs = [x + residual / 2 * out for x, out in zip(xs, outs, strict=True)]
        for i, x in enumerate(xs):
            inner = np.maximum(linear(at + "mlp.up_proj", norm(x, w[at + "mlp_layernorm.weight"])), 0.0) ** 2
            xs[i] = x + residual / 2 * linear(at + "mlp.down_proj", inner)
    table = w["lm_head.weight"] * head_scale if "lm_head.weight" in w else w["embed_tokens.weight"]
    logits_LV: ARRAY = np.array([table @ norm(x, w["norm.weight"]) for x in xs])
    return logits_LV


@pytest.mark.parametrize(
    ("options", "judge"),
    [
        ({}, {}),
        ({"soft_cap": 1.5, "residual_scale": 1.0, "rope_base": 50.0}, {"cap": 1.5, "residual": 1.0, "base": 50.0}),
        ({"qk_norm": False, "attention_bias": True, "mlp_bias": True}, {}),
        (
            {"weight_scale": 0.3, "head_scale": 2.5, "norm_eps": 0.1},
            {"weight_scale": 0.3, "head_scale": 2.5, "eps": 0.1},
        ),
        ({"tied": True, "attention_bias": True}, {}),
    ],
)
def test_logits_are_those_of_the_formulas(options: dict[str, Any], judge: dict[str, Any]) -> None:
    made = network(**options)
    tokens_BL = torch.tensor([[3, 1, 4, 1, 5], [8, 2, 6, 5, 3]])
    with torch.no_grad():
        found = made.head(made(tokens_BL, torch.tensor([0.1, 2.0])).flatten(0, 1)).view(2, L, V)
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    for row_L, logits_LV in zip(tokens_BL.tolist(), found, strict=True):
        np.testing.assert_allclose(logits_LV.numpy(), slow_logits(weights, row_L, **judge), rtol=1e-9, atol=1e-9)


def test_the_noise_level_is_not_read() -> None:
    made, tokens_BL = network(), torch.tensor([[3, 1, 4, 1, 5]])
    assert torch.equal(made(tokens_BL, torch.tensor([0.1])), made(tokens_BL, torch.tensor([5.0])))


def test_half_precision_is_computed_as_stored() -> None:
    made = network().float()
    exact = made.head(made(torch.tensor([[3, 1, 4, 1, 5]]), torch.ones(1))[0])
    half = made.bfloat16()
    found = half.head(half(torch.tensor([[3, 1, 4, 1, 5]]), torch.ones(1))[0])
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 10}, "`hidden_size` must be a multiple of 2 x `n_heads` = 16, got 10"),
        ({"n_blocks": 0}, "`n_blocks`"),
        ({"soft_cap": 0.0}, r"`soft_cap` must be above 0, got 0\.0"),
        ({"rope_base": -1.0}, "`rope_base` must be above 0"),
        ({"norm_eps": float("nan")}, "`norm_eps` must be above 0, got nan"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GiddTransformer(V, **options)
