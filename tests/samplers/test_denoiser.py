import pytest
import torch
from torch import Tensor

from tests.support.devices import run_as_on_cuda
from tests.support.toy_worlds import TableBackbone
from uddm_lightning.backbones import Backbone, DiT, chunks
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import denoiser as module
from uddm_lightning.samplers.denoiser import Denoiser

V, B, L = 5, 7, 6


def make_backbone(kind: str) -> Backbone:
    if kind == "table":
        return TableBackbone(V, L)
    torch.manual_seed(0)
    model = DiT(V, 16, 1, 2, 8, gate_init=1.0).double().eval()
    torch.nn.init.normal_(model.output_layer.linear.weight)
    return model


@pytest.fixture
def xt(rng: torch.Generator) -> Tensor:
    return torch.randint(V, (B, L), generator=rng)


@pytest.fixture
def t() -> Tensor:
    return torch.linspace(0.05, 1.0, B, dtype=torch.float64)


@pytest.fixture
def valid() -> Tensor:
    return torch.arange(L) < torch.tensor([6, 5, 4, 3, 2, 1, 0])[:, None]


def return_all(logits_CV: Tensor, x_C: Tensor, extra_C: Tensor) -> tuple[Tensor, ...]:
    return (*logits_CV.unbind(1), x_C, extra_C)


@pytest.mark.parametrize("parameterization", list(Parameterization))
@pytest.mark.parametrize("tile", [1, 2 * L + 1, 10**6])
@pytest.mark.parametrize("elements", [1, V, 4 * V + 1, 10 * V, 10**6])
def test_chunks_and_tiles_do_not_change_predictions(
    parameterization: Parameterization,
    elements: int,
    tile: int,
    xt: Tensor,
    t: Tensor,
    valid: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = torch.arange(B * L).view(B, L)
    denoise = Denoiser(UniformProcess(V, LogLinearSchedule()), make_backbone("table"), parameterization)
    whole = denoise(return_all, xt, t, valid, extra)
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", elements)
    monkeypatch.setattr(module, "TILE_TOKENS", tile)
    sizes: list[int] = []

    def count_and_return_all(logits_CV: Tensor, x_C: Tensor, extra_C: Tensor) -> tuple[Tensor, ...]:
        sizes.append(len(x_C))
        assert logits_CV.shape == (len(x_C), V)
        return return_all(logits_CV, x_C, extra_C)

    pieces = denoise(count_and_return_all, xt, t, valid, extra)
    assert len(pieces) == V + 2
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))
    assert torch.equal(pieces[-2], xt)
    assert torch.equal(pieces[-1], extra)
    assert sum(sizes) == B * L
    assert max(sizes) <= min(max(1, elements // V), max(tile, L))


@pytest.mark.parametrize("parameterization", list(Parameterization))
@pytest.mark.parametrize("kind", ["table", "dit"])
def test_predictions_equal_the_converted_network_output(
    kind: str, parameterization: Parameterization, xt: Tensor, t: Tensor, valid: Tensor
) -> None:
    process, backbone = UniformProcess(V, LogLinearSchedule()), make_backbone(kind)
    *columns, _, _ = Denoiser(process, backbone, parameterization)(return_all, xt, t, valid, xt)
    logp = torch.stack(columns, dim=-1).log_softmax(-1)
    torch.testing.assert_close(logp.exp().sum(-1), torch.ones(B, L, dtype=torch.float64))
    for row in range(B):
        one = slice(row, row + 1)
        with torch.no_grad():
            hidden = backbone(xt[one], process.level(t[one]).sigma, valid[one])[0]
            alpha = process.level(t[one]).alpha.expand(L)
            alone = process.leave_one_out(backbone.head(hidden), xt[row], alpha, parameterization)
        torch.testing.assert_close(logp[row], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("parameterization", list(Parameterization))
@pytest.mark.parametrize("kind", ["table", "dit"])
def test_predict_at_equals_the_full_prediction(
    kind: str, parameterization: Parameterization, xt: Tensor, t: Tensor, valid: Tensor
) -> None:
    denoise = Denoiser(UniformProcess(V, LogLinearSchedule()), make_backbone(kind), parameterization)
    *columns, _, _ = denoise(return_all, xt, t, valid, xt)
    places = torch.arange(B) % L
    at = denoise.predict_at(xt, places, t, valid)
    assert at.shape == (B, V)
    logp = torch.stack(columns, dim=-1).log_softmax(-1)
    torch.testing.assert_close(at, logp[torch.arange(B), places], rtol=0, atol=1e-12)


def test_a_temperature_raises_predictions_to_a_power(xt: Tensor, t: Tensor, valid: Tensor) -> None:
    denoiser = Denoiser(UniformProcess(V, LogLinearSchedule()), make_backbone("dit"), Parameterization.LEAVE_ONE_OUT)
    cold, position_B = denoiser.at_temperature(0.25), torch.zeros(B, dtype=torch.long)

    def second(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
        return (logits_CV.softmax(1)[:, 1],)

    p_BV = denoiser.predict_at(xt, position_B, t, valid).exp() ** 4
    p_BV /= p_BV.sum(1, keepdim=True)
    assert torch.allclose(cold.predict_at(xt, position_B, t, valid).exp(), p_BV)
    assert torch.allclose(cold(second, xt, t, valid)[0][:, 0], p_BV[:, 1])
    assert denoiser.temperature == 1.0, "the first one stays as it was"
    with pytest.raises(ValueError, match="`temperature` must be in"):
        denoiser.at_temperature(0.0)


def test_no_gradient_is_recorded(xt: Tensor, t: Tensor) -> None:
    denoise = Denoiser(UniformProcess(V, LogLinearSchedule()), make_backbone("table"), Parameterization.LEAVE_ONE_OUT)
    (best,) = denoise(lambda logp, _: (logp.max(1).values,), xt, t, None)
    assert not best.requires_grad
    assert not denoise.predict_at(xt, torch.zeros(B, dtype=torch.int64), t, None).requires_grad


@pytest.mark.parametrize("on_cuda", [False, True])
@pytest.mark.parametrize("parameterization", list(Parameterization))
def test_only_selected_tokens_are_replaced(
    parameterization: Parameterization, on_cuda: bool, xt: Tensor, t: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new id is that of the prediction for the token alone, with its own noise level, padding and key."""
    if on_cuda:
        run_as_on_cuda(monkeypatch)
        monkeypatch.setattr(module, "SMALLEST_ROWS", 2)
        monkeypatch.setattr(module, "SMALLEST_TOKENS", 1)
    monkeypatch.setattr(module, "TILE_TOKENS", 2 * L)
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", 2 * V)
    backbone, keys = make_backbone("dit"), torch.arange(B * L).view(B, L)
    denoise = Denoiser(UniformProcess(V, LogLinearSchedule()), backbone, parameterization)
    valid = (torch.arange(L) < L - torch.arange(B)[:, None]) | (torch.arange(B) == 6)[:, None]

    def step(logits_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> Tensor:
        return (1e6 * logits_CV.softmax(1)[:, 0]).long() + 10**7 * (10 * keys_C + x_C)

    whole = denoise(lambda *values: (step(*values),), xt, t, valid, keys)[0]
    rows: list[int] = []
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda x, *more: rows.append(len(x)) or forward(x, *more))
    for some in (keys % 4 == 1, keys % 4 < 0, keys % 4 >= 0, keys == 40):
        selected, given = some & (torch.arange(B) % 3 != 0)[:, None], xt.clone()
        rows.clear()
        denoise.replace(step, given, t, valid, keys, selected)
        assert torch.equal(given, torch.where(selected, whole, xt))
        needed = int(selected.any(1).sum())
        assert sum(rows) == (needed and max(2, needed) if on_cuda else needed) < B
        assert not on_cuda or len(rows) <= 1
