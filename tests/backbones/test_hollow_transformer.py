"""The hollow transformer: no logit depends on its own token, and training finds the leave-one-out prediction."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.toy_worlds import Joint
from uddm_lightning.backbones import HollowTransformer
from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import DenoisingCrossEntropy, LeaveOneOutCrossEntropy, ReweightedNELBO
from uddm_lightning.processes import HybridProcess, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.training.task import DiffusionTask

V, L = 13, 10
NEAR = {"window": 2}  # the other positions are reached by attention alone
WIDE = {"window": 12}  # more than a row has


def make_model(dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> HollowTransformer:
    """Return a small network with all parameters moved away from their initial values."""
    options = {"hidden_size": 32, "n_blocks": 2, "n_heads": 4, "cond_dim": 16} | NEAR | options
    torch.manual_seed(seed)
    model = HollowTransformer(V, **options).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype))
    return model.requires_grad_(False)


def logits(model: HollowTransformer, tokens: Any, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    hidden_BLD = model(tokens, sigma_B, valid_BL)
    return model.head(hidden_BLD.flatten(0, 1)).view(*hidden_BLD.shape[:2], -1)


@pytest.fixture
def tokens(rng: torch.Generator) -> Tensor:
    return torch.randint(V, (5, L), generator=rng)


@pytest.fixture
def sigma() -> Tensor:
    return torch.linspace(0.01, 3.0, 5, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [NEAR, WIDE, {"n_blocks": 1, "window": 1}, {"n_blocks": 4}])
def test_logits_depend_on_all_other_tokens_and_on_sigma_only(
    options: dict[str, Any], dtype: torch.dtype, tokens: Tensor, sigma: Tensor
) -> None:
    model, sigma = make_model(dtype, **options), sigma.to(dtype)
    base = logits(model, tokens, sigma)
    for place in range(L):
        for other in range(1, V):
            changed = tokens.clone()
            changed[:, place] = (changed[:, place] + other) % V
            found = logits(model, changed, sigma)
            assert torch.equal(found[:, place], base[:, place]), "bitwise: the token is not read"
        rest = torch.arange(L) != place
        assert ((found - base).abs().amax(-1)[:, rest] > 0).all()
    assert ((logits(model, tokens, sigma + 0.1) - base).abs().amax(-1) > 0).all()


def test_soft_tokens_are_not_seen_at_their_own_position(tokens: Tensor, sigma: Tensor) -> None:
    model, soft = make_model(), SoftTokens(torch.stack([tokens, (tokens + 1) % V], 2), torch.full((5, L, 2), 0.5))
    base = logits(model, soft, sigma)
    for place in range(L):
        ids = soft.ids_BLK.clone()
        ids[:, place] = torch.tensor([11, 12])
        weights = soft.weights_BLK.clone()
        weights[:, place] = torch.tensor([0.9, 0.1])
        found = logits(model, SoftTokens(ids, weights), sigma)
        assert torch.equal(found[:, place], base[:, place])
        assert not torch.equal(found, base)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_formula(length: int, sigma: Tensor) -> None:
    """The same network, one position, one head and one other token at a time."""
    model = make_model(n_heads=2, cond_dim=8)
    tokens = torch.tensor([[3, 0, 12, 3, 7][:length]])
    out = logits(model, tokens, sigma[1:2])[0]
    width, heads, features = 32, 2, 16
    noise = model.sigma_map(sigma[1:2])[0]
    rows = model.vocab_embed.embedding[tokens[0]]

    def normalised(vector: Tensor, weight: Tensor) -> Tensor:
        vector = vector - vector.mean()
        return weight * vector / torch.sqrt((vector**2).mean() + 1e-5)

    def turned(vector: Tensor, place: int) -> Tensor:
        """Rotate pairs of features (i, i + K / 2) as complex numbers."""
        pairs = torch.complex(vector[: features // 2], vector[features // 2 :])
        angles = place * model.rotary_emb.inv_freq
        pairs = pairs * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([pairs.real, pairs.imag])

    for place in range(length):
        near = [torch.zeros(width, dtype=torch.float64)] * 4
        for slot, offset in enumerate((-2, -1, 1, 2)):
            if 0 <= place + offset < length:
                near[slot] = rows[place + offset]
        x = model.neighbours.weight @ torch.cat(near) + model.neighbours.bias
        for block in model.blocks:
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = block.adaLN_modulation(noise).view(6, width)
            query = block.attn_q.weight @ (normalised(x, block.norm1.weight) * (1 + scale_a) + shift_a)
            heads_out = []
            for head in range(heads):
                part = slice(head * features, (head + 1) * features)
                scores, values = [torch.zeros(())], [torch.zeros(features, dtype=torch.float64)]  # the additional key
                for other in range(length):
                    if other != place:
                        both = block.attn_kv.weight @ normalised(rows[other], model.norm_tokens.weight)
                        key = turned(both[:width][part], other)
                        scores.append((turned(query[part], place) @ key) / features**0.5)
                        values.append(both[width:][part])
                shares = torch.softmax(torch.stack(scores).double(), 0)
                heads_out.append(sum(share * value for share, value in zip(shares, values, strict=True)))
            x = x + gate_a * (block.attn_out.weight @ torch.cat(heads_out))
            inner = normalised(x, block.norm2.weight) * (1 + scale_m) + shift_m
            inner = block.mlp[0].weight @ inner + block.mlp[0].bias
            inner = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
            x = x + gate_m * (block.mlp[2].weight @ inner + block.mlp[2].bias)
        shift, scale = model.output_layer.adaLN_modulation(noise).view(2, width)
        x = normalised(x, model.output_layer.norm_final.weight) * (1 + scale) + shift
        expected = model.output_layer.linear.weight @ x + model.output_layer.linear.bias
        torch.testing.assert_close(out[place], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [NEAR, WIDE])
def test_padding_on_either_side_has_no_effect(options: dict[str, Any], tokens: Tensor, sigma: Tensor) -> None:
    model, filling = make_model(**options), torch.zeros(5, 4, dtype=torch.int64)
    base = logits(model, tokens, sigma)
    for left, right in ((4, 0), (0, 4), (4, 4)):
        padded = torch.cat([filling[:, :left], tokens, filling[:, :right]], dim=1)
        places = torch.arange(padded.shape[1])
        valid = ((places >= left) & (places < left + L)).expand(5, -1)
        found = logits(model, padded, sigma, valid)[:, left : left + L]
        torch.testing.assert_close(found, base, rtol=0, atol=1e-11)


@pytest.mark.parametrize("objective", [DenoisingCrossEntropy, LeaveOneOutCrossEntropy])
def test_training_finds_the_leave_one_out_prediction(
    objective: type[DenoisingCrossEntropy | LeaveOneOutCrossEntropy],
) -> None:
    """All pairs of clean and noisy rows of a random joint distribution, at one noise level."""
    joint, process = Joint(3, 3, seed=6), UniformProcess(3, LogLinearSchedule())
    level = process.level(torch.tensor([0.4], dtype=torch.float64))
    alpha = float(level.alpha)
    torch.manual_seed(0)
    model = HollowTransformer(3, hidden_size=32, n_blocks=1, n_heads=2, cond_dim=8, window=2, dropout=0.0).double()
    posterior_YLV = joint.posterior(alpha)
    weight_Y1 = joint.noisy(alpha).sum(0)[:, None]
    sigma_Y = -level.alpha.log().expand(len(joint.noisy_YL))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=400, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        """The cross-entropy, with its expectation over x_0 given x_t in closed form."""
        optimizer.zero_grad()
        found_YLV = logits(model, joint.noisy_YL, sigma_Y)
        if objective is LeaveOneOutCrossEntropy:
            noisy_N, alpha_N = joint.noisy_YL.flatten(), level.alpha.expand(joint.noisy_YL.numel())
            found_YLV = process.posterior_logits(found_YLV.flatten(0, 1), noisy_N, alpha_N).view(posterior_YLV.shape)
        mean = -(weight_Y1 * (posterior_YLV * F.log_softmax(found_YLV, -1)).sum(-1)).sum()
        mean.backward()
        return mean

    optimizer.step(loss)
    with torch.no_grad():
        found = torch.softmax(logits(model, joint.noisy_YL, sigma_Y), -1)
    torch.testing.assert_close(found, joint.leave_one_out(alpha), rtol=0, atol=2e-3)
    assert (found - posterior_YLV).abs().max() > 0.1


def test_the_task_measures_a_leave_one_out_prediction() -> None:
    task = DiffusionTask(5, backbone=lambda ids: HollowTransformer(ids, 16, 1, 2), objective=DenoisingCrossEntropy())
    assert task.parameterization is Parameterization.LEAVE_ONE_OUT


def test_an_objective_with_another_minimum_is_refused() -> None:
    """Its weights depend on whether x_t = x_0, which a hollow network cannot know."""
    model = make_model()
    with pytest.raises(InputError, match=r"`model\.backbone: HollowTransformer` predicts leave-one-out"):
        ReweightedNELBO().check_compatible(HybridProcess(V, LogLinearSchedule()), model)


def test_initial_logits_are_zero(tokens: Tensor, sigma: Tensor) -> None:
    model = HollowTransformer(V, 32, 2, 4, 16).double().eval()
    assert torch.equal(logits(model, tokens, sigma), torch.zeros(5, L, V, dtype=torch.float64))


def test_gradients_reach_every_parameter_after_a_few_steps(tokens: Tensor) -> None:
    torch.manual_seed(0)
    model = HollowTransformer(V, 32, 2, 4, 16, window=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    sigma, first = torch.linspace(0.1, 2, 5), None
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(model, tokens, sigma).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        first = first if first is not None else loss.item()
    assert loss.item() < first
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_dropout_is_active_in_training_mode_only(tokens: Tensor, sigma: Tensor) -> None:
    model = make_model(dropout=0.5)
    assert torch.equal(logits(model, tokens, sigma), logits(make_model(dropout=0.0).train(), tokens, sigma))
    model.train()
    assert not torch.equal(logits(model, tokens, sigma), logits(model, tokens, sigma))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, r"^`hidden_size` must be at least 1, got 0\.$"),
        ({"n_blocks": 0}, r"^`n_blocks` must be at least 1, got 0\.$"),
        ({"n_heads": -2}, r"^`n_heads` must be at least 1, got -2\.$"),
        ({"cond_dim": 0}, r"^`cond_dim` must be at least 1, got 0\.$"),
        ({"window": 0}, r"^`window` must be at least 1, got 0\.$"),
        ({"mlp_ratio": 0}, r"^`mlp_ratio` must be at least 1, got 0\.$"),
        ({"hidden_size": 36, "n_heads": 4}, r"^`hidden_size` must be a multiple of 2 x `n_heads` = 8, got 36\.$"),
        ({"dropout": 1.0}, r"^`dropout` must be in \[0, 1\), got 1\.0\.$"),
        ({"embedding_init_std": 0.0}, r"^`embedding_init_std` must be above 0, got 0\.0\.$"),
    ],
)
def test_constructor_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HollowTransformer(V, **options)
