from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.devices import HostReads, run_as_on_cuda
from tests.support.oracle_worlds import WORLDS, World, every_noise, markov, memory, unigram
from tests.support.toy_worlds import TableBackbone, assert_frequencies, chain_kernel
from uddm_lightning.backbones import Backbone, DiT, TextStatistics, UnigramBackbone
from uddm_lightning.core import devices
from uddm_lightning.core.keyed_random import key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

V, B, L = 7, 64, 9


def make_denoiser(backbone: Backbone) -> Denoiser:
    return Denoiser(UniformProcess(backbone.vocab_size, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)


class RecordingBackbone(TableBackbone):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sigmas: list[float] = []

    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        assert (sigma_B == sigma_B[0]).all()
        self.sigmas.append(float(sigma_B[0]))
        return super().forward(tokens_BL, sigma_B, valid_BL)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return make_denoiser(TableBackbone(V, L, scale=2.0))


@pytest.fixture
def xt(rng: torch.Generator) -> Tensor:
    return torch.randint(V, (B, L), generator=rng)


KEYS = key(3, torch.arange(B))


@pytest.mark.parametrize("steps", [1, 3, 10, 1000])
@pytest.mark.parametrize("t", [0.0, 1e-5, 0.05, 0.1, 0.25, 0.333, 0.5, 1.0])
def test_grid(steps: int, t: float) -> None:
    times = AncestralSampler(steps=steps).grid(t)
    whole = AncestralSampler(steps=steps).grid(1.0)
    assert len(whole) == steps + 2
    assert whole[0] == pytest.approx(1.0, abs=1e-12)
    assert times[-2:] == [1e-5, 0.0]
    assert all(late > early for late, early in pairwise(times))
    widths = [late - early for late, early in pairwise(times[:-1])]
    assert widths == pytest.approx([(1 - 1e-5) / steps] * len(widths))
    assert times == whole[-len(times) :], "all chains share one grid"
    assert abs(times[0] - t) <= min(abs(point - t) for point in whole[:-1]) + 1e-12


@pytest.mark.parametrize(("t", "steps"), [(0.05, 51), (0.1, 101), (0.25, 251), (0.5, 501), (1.0, 1001)])
def test_number_of_steps_in_the_paper(t: float, steps: int) -> None:
    assert len(AncestralSampler().grid(t)) - 1 == steps


def test_network_is_evaluated_once_at_each_time_except_zero(xt: Tensor) -> None:
    backbone = RecordingBackbone(V, L)
    sampler, denoiser = AncestralSampler(steps=20), make_denoiser(backbone)
    sampler(denoiser, xt, 0.5, KEYS)
    expected = [float(denoiser.process.level(torch.tensor(t).double()).sigma) for t in sampler.grid(0.5)[:-1]]
    assert backbone.sigmas == pytest.approx(expected)


@pytest.mark.parametrize("t", [-0.01, 1.01, float("nan")])
def test_time_error(t: float, denoiser: Denoiser, xt: Tensor) -> None:
    with pytest.raises(ValueError, match=rf"^`t` must be in \[0, 1\], got {t}\.$"):
        AncestralSampler()(denoiser, xt, t, KEYS)


@pytest.mark.parametrize("steps", [0, -5])
def test_steps_error(steps: int) -> None:
    with pytest.raises(ValueError, match=rf"^`steps` must be at least 1, got {steps}\.$"):
        AncestralSampler(steps=steps)


def test_clamp_error(denoiser: Denoiser, xt: Tensor) -> None:
    with pytest.raises(
        ValueError, match=r"^`clamp: true` needs `clean_BL`, the mask of tokens that are known to be clean\.$"
    ):
        AncestralSampler(clamp=True)(denoiser, xt, 0.5, KEYS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoding": "greedy"}, r"^`decoding` must be \"sample\" or \"argmax\", got 'greedy'\.$"),
        ({"noise_removal": "none"}, r"^`noise_removal` must be \"ancestral\" or \"argmax\", got 'none'\.$"),
    ],
)
def test_decoding_and_noise_removal_errors(options: dict[str, Any], message: str) -> None:
    """A misspelt value would otherwise run one chain under the name of another."""
    with pytest.raises(ValueError, match=message):
        AncestralSampler(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "ancestral"),
        ({"clamp": True}, "ancestral-clamped"),
        ({"noise_removal": "argmax"}, "ancestral-argmax"),
        ({"clamp": True, "noise_removal": "argmax"}, "ancestral-clamped-argmax"),
        ({"temperature": 0.5, "clamp": True}, "ancestral-t0.5-clamped"),
        ({"decoding": "argmax"}, "argmax-posterior"),
        ({"decoding": "argmax", "clamp": True}, "argmax-posterior-clamped"),
        ({"decoding": "argmax", "noise_removal": "argmax"}, "argmax-posterior-argmax"),
    ],
)
def test_chain_names(options: dict[str, Any], name: str) -> None:
    assert AncestralSampler(**options).name == name


def test_temperature_raises_predictions_to_a_power_and_is_checked() -> None:
    """One step from t = 1 to 0 draws tokens from p^(1 / T)."""
    p_V, draws = torch.tensor([0.7, 0.2, 0.1]).double(), 4000
    backbone = UnigramBackbone(3)
    backbone.prepare(TextStatistics(lambda: torch.zeros(1, 1).long(), p_V))
    one = Denoiser(UniformProcess(3, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
    noise_BL, keys_B = torch.arange(draws)[:, None] % 3, torch.arange(draws)
    for temperature in (0.5, 1.0, 2.0):
        sampler = AncestralSampler(1, noise_removal="ancestral", temperature=temperature)
        counts_V = torch.bincount(sampler.sample(one, noise_BL, keys_B)[:, 0], minlength=3)
        raised_V = p_V ** (1 / temperature)
        assert_frequencies(counts_V, raised_V / raised_V.sum())
    for wrong in (0.0, -1.0, 1e6):
        with pytest.raises(ValueError, match=rf"`temperature` must be in \(0, 1e6\), got {wrong}"):
            AncestralSampler(temperature=wrong)


def table() -> Backbone:
    return TableBackbone(V, L, scale=2.0)


def dit() -> Backbone:
    torch.manual_seed(0)
    model = DiT(V, 16, 1, 2, 8, gate_init=1.0).double().eval()
    torch.nn.init.normal_(model.output_layer.linear.weight)
    return model


@pytest.mark.parametrize("decoding", ["sample", "argmax"])
@pytest.mark.parametrize("make", [table, dit])
def test_batch_size_does_not_change_a_row(make: Any, decoding: Any, xt: Tensor) -> None:
    denoiser, sampler = make_denoiser(make()), AncestralSampler(steps=30, decoding=decoding)
    valid = torch.arange(L) < (torch.arange(B) % (L + 1))[:, None]
    whole = sampler(denoiser, xt, 0.7, KEYS, valid)
    for size in (1, 7, 64):
        parts = [
            sampler(denoiser, *part)
            for part in (
                (a, 0.7, b, c) for a, b, c in zip(xt.split(size), KEYS.split(size), valid.split(size), strict=True)
            )
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_chain_is_a_function_of_key_and_start(denoiser: Denoiser, xt: Tensor) -> None:
    sampler, before, state = AncestralSampler(steps=30), xt.clone(), torch.get_rng_state()
    one = sampler(denoiser, xt, 1.0, KEYS)
    assert torch.equal(sampler(denoiser, xt, 1.0, KEYS), one)
    assert torch.equal(xt, before), "the argument was modified"
    assert torch.equal(torch.get_rng_state(), state), "sampling must not use the global generator"
    assert (sampler(denoiser, xt, 1.0, KEYS + 1) != one).any(1).double().mean() > 0.9
    order = torch.randperm(B, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sampler(denoiser, xt[order], 1.0, KEYS[order]), one[order])
    assert one.dtype == torch.int64
    assert 0 <= one.min() <= one.max() < V


def test_rows_and_positions_have_independent_noise() -> None:
    flat = make_denoiser(TableBackbone(V, L, scale=0.0))
    start = torch.zeros(B, L, dtype=torch.int64)
    end = AncestralSampler(steps=10)(flat, start, 1.0, KEYS)
    assert len({tuple(row) for row in end.tolist()}) == B
    assert len({tuple(column) for column in end.T.tolist()}) == L


@pytest.mark.parametrize(
    "options", [{}, {"noise_removal": "argmax"}, {"decoding": "argmax", "noise_removal": "argmax"}]
)
def test_clamped_tokens_stay(options: dict[str, Any], denoiser: Denoiser, xt: Tensor, rng: torch.Generator) -> None:
    clean = torch.rand(B, L, generator=rng) < 0.5
    end = AncestralSampler(steps=20, clamp=True, **options)(denoiser, xt, 1.0, KEYS, None, clean)
    assert torch.equal(end[clean], xt[clean])
    assert (end[~clean] != xt[~clean]).double().mean() > 0.3
    # an unclamped chain ignores `clean_BL`
    free = AncestralSampler(steps=20, **options)
    with_mask, without_mask = (free(denoiser, xt, 1.0, KEYS, None, given) for given in (clean, None))
    assert torch.equal(with_mask, without_mask)
    assert (with_mask[clean] != xt[clean]).any()


@pytest.mark.parametrize("options", [{}, {"clamp": True}, {"noise_removal": "argmax"}])
def test_padding_is_unchanged_and_ignored(
    options: dict[str, Any], denoiser: Denoiser, xt: Tensor, rng: torch.Generator
) -> None:
    valid = torch.arange(L) < (torch.arange(B) % (L + 1))[:, None]
    clean = torch.rand(B, L, generator=rng) < 0.3
    sampler = AncestralSampler(steps=20, **options)
    end = sampler(denoiser, xt, 1.0, KEYS, valid, clean)
    assert torch.equal(end[~valid], xt[~valid])
    assert (end[valid] != xt[valid]).any()
    if options.get("clamp"):
        assert torch.equal(end[clean], xt[clean])
    other = xt.where(valid, (xt + 1) % V)
    assert torch.equal(sampler(denoiser, other, 1.0, KEYS, valid, clean)[valid], end[valid])


def test_argmax_noise_removal_writes_the_most_probable_id_everywhere(xt: Tensor) -> None:
    """With a prediction that does not depend on x_t, the result is known."""
    backbone = TableBackbone(V, L, context=False)
    with torch.no_grad():
        backbone.table.copy_(backbone.table[:, :1].expand(L, V, V))
    end = AncestralSampler(steps=5, noise_removal="argmax")(make_denoiser(backbone), xt, 1.0, KEYS)
    assert torch.equal(end, backbone.table[:, 0].argmax(-1).expand(B, L))


def test_argmax_chain_rarely_changes_tokens(xt: Tensor) -> None:
    """It changes a token only if the prediction almost excludes it, and the prediction here is not sharp."""
    denoiser = make_denoiser(TableBackbone(V, L, scale=0.5))
    argmax, sampled = (
        AncestralSampler(steps=200, decoding=decoding)(denoiser, xt, 0.5, KEYS) for decoding in ("argmax", "sample")
    )
    assert (argmax != xt).double().mean() < 0.02
    assert (sampled != xt).double().mean() > 0.2


def test_argmax_chain_does_not_depend_on_the_key(denoiser: Denoiser, xt: Tensor) -> None:
    sampler = AncestralSampler(steps=3, decoding="argmax")
    assert torch.equal(sampler(denoiser, xt, 1.0, KEYS), sampler(denoiser, xt, 1.0, KEYS + 1))


def test_certain_prediction_is_restored() -> None:
    """A prediction that is certain of one row restores it from pure noise, and keeps it."""
    row = torch.arange(L) % V
    backbone = TableBackbone(V, L, context=False)
    with torch.no_grad():
        backbone.table.fill_(-60.0)
        backbone.table[torch.arange(L), :, row] = 60.0
        backbone.table.mul_(1e3)
    # the table's logits are multiplied by cos(sigma), which is negative for sigma > pi / 2: start below that
    sampler, denoiser = AncestralSampler(steps=50), make_denoiser(backbone)
    noise = torch.randint(V, (B, L), generator=torch.Generator().manual_seed(9))
    assert torch.equal(sampler(denoiser, noise, 0.7, KEYS), row.expand(B, L))
    assert torch.equal(sampler(denoiser, row.expand(B, L), 0.7, KEYS), row.expand(B, L))


def test_chains_from_different_times_share_their_noise() -> None:
    """At a grid point a row uses the same random numbers for every start time."""
    flat = make_denoiser(TableBackbone(V, L, scale=0.0))
    sampler, start = AncestralSampler(steps=40), torch.zeros(B, L, dtype=torch.int64)
    early, late = sampler(flat, start, 1.0, KEYS), sampler(flat, start, 0.5, KEYS)
    apart = sampler(flat, start, 0.5, KEYS + 1)
    assert (early == late).double().mean() > (early == apart).double().mean() + 0.2


def assert_drawn_from(counts: Tensor, probabilities: Tensor) -> None:
    """Apply a chi-square test, with all rare outcomes pooled."""
    likely = probabilities * counts.sum() >= 8
    pooled = [torch.cat([values[likely], values[~likely].sum()[None]]) for values in (counts, probabilities)]
    if pooled[1][-1] * counts.sum() < 5:
        assert pooled[0][-1] < 30
        pooled = [values[:-1] for values in pooled]
    assert_frequencies(*pooled)


def assert_samples_follow_the_text(world: World) -> None:
    """Assert that the chain from pure noise samples the text, up to the error of finite steps."""
    rows, joint, sampler = 6000, world.joint, AncestralSampler(steps=150)
    kernel_YX = chain_kernel(world.process, joint, lambda alpha: joint.leave_one_out(alpha).log(), sampler.grid(1.0))
    ends_X = kernel_YX[joint.code(world.process.sample_prior(joint.rows_XL), noisy=True)].mean(0)
    assert 0.5 * (ends_X - joint.p_X).abs().sum() < 0.02
    start = torch.randint(joint.V, (rows, joint.L), generator=torch.Generator().manual_seed(5))
    start = world.process.sample_prior(start)
    ends = sampler(world.denoiser, start, 1.0, key(9, torch.arange(rows)))
    assert_drawn_from(torch.bincount(joint.code(ends), minlength=len(joint.p_X)), ends_X)


@every_noise
@pytest.mark.parametrize(("make", "V"), [(markov, 3), (memory, 3), (unigram, 2)], ids=WORLDS)
def test_samples_follow_the_text(make: Callable[..., World], V: int, mask: bool) -> None:
    assert_samples_follow_the_text(make(V, 3, mask=mask))


@pytest.mark.parametrize("world", [markov(3, 3, True), unigram(2, 3, True)], ids=["markov", "unigram"])
def test_samples_of_the_posterior_fail(world: World) -> None:
    with pytest.raises(AssertionError):
        assert_samples_follow_the_text(world)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [128, 100])
@pytest.mark.parametrize("starts", ["together", "apart"])
def test_a_chain_on_a_gpu_shows_the_network_few_shapes(starts: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU plans for each new shape. Here exact numbers of rows would be more than 50 shapes."""
    run_as_on_cuda(monkeypatch)
    backbone, shapes, tokens = dit(), Counter[int](), set()
    backbone.register_forward_pre_hook(lambda _, inputs: shapes.update([len(inputs[0])]))
    head = backbone.head
    monkeypatch.setattr(backbone, "head", lambda hidden: tokens.add(len(hidden)) or head(hidden))
    xt = torch.randint(V, (rows, L), generator=torch.Generator().manual_seed(0))
    times = torch.linspace(1.0, 1e-3, rows).double() if starts == "apart" else 1.0
    AncestralSampler(steps=1000)(make_denoiser(backbone), xt, times, key(3, torch.arange(rows)))
    assert 2 <= len(shapes) <= 8, shapes
    assert len(tokens) <= 8, tokens
    assert shapes.total() > 400


@pytest.mark.parametrize("options", [{}, {"decoding": "argmax"}, {"noise_removal": "argmax"}, {"clamp": True}])
@pytest.mark.parametrize("starts", ["together", "apart"])
def test_a_reverse_step_on_a_gpu_reads_at_most_two_numbers(
    starts: str, options: dict[str, Any], xt: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_as_on_cuda(monkeypatch)
    sampler, denoiser = AncestralSampler(steps=20, **options), make_denoiser(dit())
    times = torch.linspace(1.0, 0.1, B).double() if starts == "apart" else 1.0
    with HostReads() as reads:
        sampler(denoiser, xt, times, KEYS, None, xt == 0)
    checks = 1  # of the start times, before the chain
    assert reads.found.count("aten._local_scalar_dense.default") == len(reads.found) - checks
    assert 21 <= len(reads.found) <= 2 * 21 + checks


@pytest.mark.parametrize("options", [{}, {"decoding": "argmax"}])
def test_a_reverse_step_does_nothing_else_on_the_host(
    options: dict[str, Any], xt: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device a value cannot be read at all."""
    monkeypatch.setattr(devices, "true_indices", lambda mask, smallest: torch.arange(smallest, device=mask.device))
    denoiser, valid = make_denoiser(dit().to("meta")), torch.ones(B, L, dtype=torch.bool, device="meta")
    with HostReads() as reads:
        AncestralSampler(**options)._step(denoiser, xt.to("meta"), 500, KEYS.to("meta"), valid, ~valid, B - 1)
    assert len(reads.found) == 2, "the copies of the arguments in this test"
