import pickle
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import reference
from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.dit import RotaryEmbedding, rotate

V, L = 13, 10


def make_model(dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> DiT:
    """Return a small network with all parameters moved away from their initial values."""
    options = {"hidden_size": 32, "n_blocks": 2, "n_heads": 4, "cond_dim": 16} | options
    torch.manual_seed(seed)
    model = DiT(V, **options).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype))
    return model.requires_grad_(False)


def logits(model: DiT, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    return model.head(model(tokens_BL, sigma_B, valid_BL).flatten(0, 1)).view(*tokens_BL.shape, -1)


@pytest.fixture
def tokens(rng: torch.Generator) -> Tensor:
    return torch.randint(V, (5, L), generator=rng)


@pytest.fixture
def sigma() -> Tensor:
    return torch.linspace(0.01, 3.0, 5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("hidden", "blocks", "heads", "millions"), [(256, 8, 8, 23.7), (768, 12, 12, 139.3), (1024, 24, 16, 384.0)]
)
def test_parameters_of_the_three_sizes(hidden: int, blocks: int, heads: int, millions: float) -> None:
    with torch.device("meta"):
        model = DiT(30_522, hidden, blocks, heads)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.005)


def test_defaults_are_the_tiny_size() -> None:
    with torch.device("meta"):
        one, other = DiT(30_522), DiT(30_522, 256, 8, 8, 128, 0.1)
    assert {n: p.shape for n, p in one.named_parameters()} == {n: p.shape for n, p in other.named_parameters()}
    assert one.blocks[0].dropout == 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(dtype: torch.dtype, tokens: Tensor, sigma: Tensor) -> None:
    model = make_model(dtype)
    hidden = model(tokens, sigma)
    assert hidden.shape == (5, L, 32)
    assert hidden.dtype == dtype
    out = model.head(hidden[:, 3])
    assert out.shape == (5, V)
    assert out.dtype == dtype


def test_float64_is_float64_throughout(tokens: Tensor, sigma: Tensor) -> None:
    """A change of 1e-11 in sigma changes the logits, so no step is computed in float32."""
    double = make_model()
    single = make_model(torch.float32)
    single.load_state_dict(double.state_dict())
    torch.testing.assert_close(logits(single, tokens, sigma).double(), logits(double, tokens, sigma), rtol=0, atol=1e-3)
    nudged = logits(double, tokens, sigma + 1e-11) - logits(double, tokens, sigma)
    assert nudged.abs().max() > 0
    assert nudged.abs().max() < 1e-7


def test_a_row_does_not_depend_on_its_batch(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model()
    whole = logits(model, tokens, sigma)
    for row in range(5):
        alone = logits(model, tokens[row : row + 1], sigma[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-12)


def test_every_position_depends_on_every_token_and_on_sigma(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model()
    base = logits(model, tokens, sigma)
    for place in range(L):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % V
        moved = (logits(model, changed, sigma) - base).abs().amax(-1)
        assert (moved > 1e-8).all(), "attention is bidirectional, so every position depends on every token"
    assert ((logits(model, tokens, sigma + 0.1) - base).abs().amax(-1) > 1e-8).all()


def test_without_time_conditioning_the_noise_input_is_zero(tokens: Tensor, sigma: Tensor) -> None:
    told, untold = make_model(), make_model(time_conditioning=False)
    assert torch.equal(logits(untold, tokens, sigma), logits(told, tokens, torch.zeros_like(sigma)))
    assert not torch.equal(logits(untold, tokens, sigma), logits(told, tokens, sigma))


def test_padding_is_never_attended_to(tokens: Tensor, sigma: Tensor, rng: torch.Generator) -> None:
    model = make_model()
    valid = torch.arange(L) < torch.tensor([10, 7, 3, 1, 5])[:, None]
    base = logits(model, tokens, sigma, valid)
    other = tokens.where(valid, torch.randint(V, tokens.shape, generator=rng))
    assert not torch.equal(other, tokens)
    torch.testing.assert_close(logits(model, other, sigma, valid)[valid], base[valid], rtol=0, atol=1e-12)
    for row, length in enumerate([10, 7, 3, 1, 5]):
        short = logits(model, tokens[row : row + 1, :length], sigma[row : row + 1])
        torch.testing.assert_close(short[0], base[row, :length], rtol=0, atol=1e-12)


def test_mask_of_valid_positions_only_has_no_effect(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model()
    full = torch.ones_like(tokens, dtype=torch.bool)
    torch.testing.assert_close(logits(model, tokens, sigma, full), logits(model, tokens, sigma), rtol=0, atol=1e-12)


def test_filler_row_is_finite_and_does_not_affect_other_rows(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model().requires_grad_(True)
    valid = torch.ones_like(tokens, dtype=torch.bool)
    valid[2] = False
    out = logits(model, tokens, sigma, valid)
    assert out.isfinite().all()
    torch.testing.assert_close(out, logits(model, tokens, sigma), rtol=0, atol=1e-12)
    out[valid].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_rotary_products_depend_on_the_distance_only() -> None:
    cos, sin = RotaryEmbedding(8).double()(20)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    product = rotate(q.expand(1, 1, 20, 8), cos, sin) @ rotate(k.expand(1, 1, 20, 8), cos, sin).mT
    for offset in range(-19, 20):
        diagonal = product[0, 0].diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12)
    assert product[0, 0, 0].std() > 0.1
    torch.testing.assert_close(product[0, 0, 3, 3], (q * k).sum(), rtol=0, atol=1e-12)


def test_left_padding_has_no_effect(tokens: Tensor, sigma: Tensor) -> None:
    """The network depends on distances and not on absolute positions."""
    model = make_model()
    pushed = torch.cat([torch.zeros(5, 4, dtype=torch.int64), tokens], dim=1)
    valid = (torch.arange(L + 4) >= 4).expand(5, -1)
    torch.testing.assert_close(
        logits(model, pushed, sigma, valid)[:, 4:], logits(model, tokens, sigma), rtol=0, atol=1e-11
    )


def test_output_depends_on_the_order_of_tokens(sigma: Tensor) -> None:
    model, row = make_model(), torch.arange(L)[None]
    there, back = logits(model, row, sigma[:1]), logits(model, row.flip(1), sigma[:1])
    assert (there - back.flip(1)).abs().max() > 1e-3


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_initial_logits_are_zero(gate: float, tokens: Tensor, sigma: Tensor) -> None:
    model = DiT(V, 32, 2, 4, 16, gate_init=gate).eval()
    assert torch.equal(logits(model, tokens, sigma), torch.zeros(5, L, V))


def test_blocks_start_as_the_identity(tokens: Tensor, sigma: Tensor) -> None:
    """With closed gates each feature depends on its own token only; with open gates it depends on all tokens."""
    closed, open_ = (DiT(V, 32, 2, 4, 16, gate_init=gate).double().eval() for gate in (0.0, 1.0))
    order = torch.randperm(L, generator=torch.Generator().manual_seed(2))
    features = closed(tokens, sigma)
    assert torch.equal(closed(tokens[:, order], sigma), features[:, order])
    assert torch.equal(closed(tokens, sigma + 1), features)
    torch.testing.assert_close(
        features, torch.nn.functional.layer_norm(closed.vocab_embed.embedding[tokens], (32,)), rtol=0, atol=1e-12
    )
    assert (open_(tokens[:, order], sigma) - open_(tokens, sigma)[:, order]).abs().max() > 1e-3


def test_embedding_std_sets_the_scale() -> None:
    torch.manual_seed(0)
    wide = DiT(1000, 64, 1, 4, embedding_init_std=0.2).vocab_embed.embedding.detach()
    assert float(wide.std()) == pytest.approx(0.2, rel=0.02)
    bounded = DiT(1000, 64, 1, 4).vocab_embed.embedding.detach()
    assert float(bounded.abs().max()) <= 64**-0.5
    assert float(bounded.std()) == pytest.approx((64 * 3) ** -0.5, rel=0.02)


def test_dropout_is_active_in_training_mode_only(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model(dropout=0.5)
    assert torch.equal(logits(model, tokens, sigma), logits(model, tokens, sigma))
    model.train()
    torch.manual_seed(0)
    one, other = logits(model, tokens, sigma), logits(model, tokens, sigma)
    assert not torch.equal(one, other)
    torch.manual_seed(0)
    assert torch.equal(logits(model, tokens, sigma), one)
    assert torch.equal(
        logits(make_model(dropout=0.0).train(), tokens, sigma), logits(make_model(dropout=0.0), tokens, sigma)
    )


def test_gradients_reach_every_parameter_after_a_few_steps(tokens: Tensor) -> None:
    torch.manual_seed(0)
    model = DiT(V, 32, 2, 4, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    sigma, first = torch.linspace(0.1, 2, 5), None
    for _ in range(8):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits(model, tokens, sigma).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        first = first if first is not None else loss.item()
    assert loss.item() < first
    without_gradient = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without_gradient == []
    for block in model.blocks:  # shift, scale and gate, of attention and of the MLP
        assert (block.adaLN_modulation.bias.grad.view(6, -1).abs().sum(1) > 0).all()


def test_derivative_with_respect_to_parameters_is_exact(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model(n_blocks=1)
    direction = {n: torch.randn_like(p) for n, p in model.named_parameters()}

    def along(step: float) -> Tensor:
        moved = {n: p + step * direction[n] for n, p in model.named_parameters()}
        hidden = torch.func.functional_call(model, moved, (tokens, sigma))
        return hidden.square().mean()

    torch.manual_seed(0)
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(along(step), step)
    assert float(exact) == pytest.approx(float(along(1e-5) - along(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, r"^`hidden_size` must be at least 1, got 0\.$"),
        ({"n_blocks": 0}, r"^`n_blocks` must be at least 1, got 0\.$"),
        ({"n_heads": -2}, r"^`n_heads` must be at least 1, got -2\.$"),
        ({"cond_dim": 0}, r"^`cond_dim` must be at least 1, got 0\.$"),
        ({"hidden_size": 36, "n_heads": 4}, r"^`hidden_size` must be a multiple of 2 x `n_heads` = 8, got 36\.$"),
        ({"dropout": 1.0}, r"^`dropout` must be in \[0, 1\), got 1\.0\.$"),
        ({"dropout": -0.1}, r"^`dropout` must be in \[0, 1\), got -0\.1\.$"),
        ({"embedding_init_std": 0.0}, r"^`embedding_init_std` must be above 0, got 0\.0\.$"),
    ],
)
def test_constructor_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiT(V, **options)


class OpaqueObject(dict):
    """Replacement for a class of a foreign checkpoint, without behaviour."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        self["state"] = state


class Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("torch") or module == "collections":
            return super().find_class(module, name)
        return OpaqueObject


def test_logits_of_a_checkpoint_in_the_layout_of_duo() -> None:
    pickle_module = types.SimpleNamespace(Unpickler=Unpickler, load=pickle.load, __name__="opaque_pickle")
    checkpoint = torch.load(
        reference("duo_layout.ckpt"),
        map_location="cpu",
        weights_only=False,
        pickle_module=pickle_module,
    )
    weights = {
        name.removeprefix("backbone."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("backbone.")
    }
    vocabulary, hidden = weights["vocab_embed.embedding"].shape
    frequencies = weights.pop("rotary_emb.inv_freq")
    model = DiT(
        vocabulary,
        hidden,
        n_blocks=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        n_heads=hidden // (2 * len(frequencies)),
        cond_dim=weights["sigma_map.mlp.0.weight"].shape[0],
    ).eval()
    torch.testing.assert_close(model.rotary_emb.inv_freq, frequencies)
    model.load_state_dict(weights)
    expected = np.load(reference("duo_layout_logits.npz"))
    with torch.no_grad():
        ours = logits(model, torch.tensor(expected["x"]), torch.tensor(expected["sigma"]))
    torch.testing.assert_close(ours, torch.tensor(expected["logits_raw"]), rtol=0, atol=1e-4)
