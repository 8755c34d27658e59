"""The hot paths at the sizes of a GPU, each with a textbook version, eager and compiled.

Shapes: B rows, L positions, V ids.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tests.benchmarks import accelerator_fit, dense
from tests.benchmarks.accelerator_case import TEXTBOOK, Case, Row, measure, of_steps
from tests.benchmarks.paths import STEPS, TIME, Setting
from tests.benchmarks.timing import Seconds, StepClock
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.metrics import functional as F
from uddm_lightning.objectives import NELBO
from uddm_lightning.preflight.network_cost import network_cost
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser


def forward_flops(setting: Setting) -> int:
    """Return the operations of the network and its projection on all rows, forward."""
    cost = network_cost(setting.make, setting.V, setting.L)
    assert cost is not None
    return setting.B * cost.forward_flops


def products(case: Case) -> list[Row]:
    """The speed of large square products, to which the other paths are compared, and of a copy in memory."""
    size, calls = (64, 2) if case.toy else (8192, 5)
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(size, size, device=case.device).to(dtype) for _ in range(2))

        def multiply(a: Tensor = a, b: Tensor = b) -> None:
            for _ in range(calls):
                torch.mm(a, b)

        name = str(dtype).removeprefix("torch.")
        rows += measure("products", case, {name: multiply}, flops=2.0 * calls * size**3, dtype=name)
    source = torch.empty(2**10 if case.toy else 2**31, dtype=torch.uint8, device=case.device)
    target = torch.empty_like(source)
    copied = measure("products", case, {"copy in memory": lambda: target.copy_(source)})
    speed = 2 * source.numel() / (copied[0].seconds or float("inf")) / 1e12
    return [*rows, copied[0]._replace(note=copied[0].note or f"{speed:.2f} TB/s, read and written")]


def training_step(path: str, network: str, rows: int, case: Case) -> list[Row]:
    """Forward, backward, clipping and AdamW, in bf16."""
    setting = case.setting(network, rows)
    noised, schedule = setting.batch(), LogLinearSchedule()
    sigma_B = UniformProcess(setting.V, schedule).level(noised.t_B).sigma

    def ours(compiled: bool) -> Callable[[], object]:
        process, net, objective = UniformProcess(setting.V, schedule), setting.network(), NELBO()
        if compiled:
            process.compile()
            net.compile()
        return step(net, lambda: objective(process, net, noised).total)

    def textbook(compiled: bool) -> Callable[[], object]:
        net = setting.network()

        def loss() -> Tensor:
            logits_NV = net.head(net(noised.xt_BL, sigma_B).flatten(0, 1))
            logits_BLV = logits_NV.float().view(setting.B, setting.L, setting.V)
            values = (noised.x0_BL, noised.xt_BL, noised.alpha_B, noised.slope_B)
            return dense.nelbo_by_sums(logits_BLV, *values).mean()

        return step(net, torch.compile(loss) if compiled else loss)

    def step(net: torch.nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4, fused=True)

        def call() -> None:
            with setting.cast():
                total = loss()
            total.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return call

    sides = {
        "ours, compiled": ours(True),
        "ours, eager": ours(False),
        TEXTBOOK[0]: textbook(True),
        TEXTBOOK[1]: textbook(False),
    }
    return measure(path, case, sides, tokens=setting.tokens, flops=3.0 * forward_flops(setting), dtype="bfloat16")


class _EnoughError(Exception):
    """Ends a chain after the steps that are timed."""


def chain_steps(setting: Setting, t: float, keep: int | None) -> list[float]:
    """Return the seconds of the steps of the reverse chain from time t, of the first `keep` of them if given."""
    process, noised = UniformProcess(setting.V, LogLinearSchedule()), setting.batch()
    denoiser = Denoiser(process, setting.network().eval(), Parameterization.LEAVE_ONE_OUT)
    sampler, keys_B = AncestralSampler(steps=STEPS), torch.arange(setting.B, device=setting.device)
    clock = StepClock(setting.device)

    def observe(*_: object) -> None:
        clock.tick()
        if keep is not None and len(clock.ends) > keep:
            raise _EnoughError

    with torch.no_grad(), setting.cast():
        try:
            sampler(denoiser, noised.xt_BL, t, keys_B, observe=observe)
            clock.tick()
        except _EnoughError:
            pass
    return clock.steps()


def reverse_step(path: str, case: Case) -> list[Row]:
    """A step of the ancestral chain at t = 0.5 on a grid of 1,000 steps, against the network on all rows."""
    setting = case.setting("tiny", 128)
    process, noised, net = UniformProcess(setting.V, LogLinearSchedule()), setting.batch(), setting.network().eval()
    sigma_B = process.level(noised.t_B).sigma
    alpha_t, alpha_s = (
        process.level(torch.tensor(t, dtype=torch.float64, device=setting.device)).alpha
        for t in (TIME, TIME - 1 / STEPS)
    )

    def project() -> Tensor:
        logits_NV: Tensor = net.head(net(noised.xt_BL, sigma_B).flatten(0, 1))
        return logits_NV

    def textbook() -> Tensor:
        logits_BLV = project().view(setting.B, setting.L, setting.V)
        return dense.reverse_step(logits_BLV, noised.xt_BL, alpha_s, alpha_t)

    def predict(call: Callable[[], Tensor]) -> Callable[[], object]:
        def run() -> None:
            with torch.no_grad(), setting.cast():
                call()

        return run

    sides = {
        "network and projection, compiled": predict(torch.compile(project)),
        "network alone, compiled": predict(torch.compile(lambda: net(noised.xt_BL, sigma_B))),
        "network alone, eager": predict(lambda: net(noised.xt_BL, sigma_B)),
        TEXTBOOK[0]: predict(torch.compile(textbook)),
        TEXTBOOK[1]: predict(textbook),
    }
    skip, keep = (1, 12) if case.toy else (100, 250)
    started = time.perf_counter()
    ours = of_steps(path, "ours", chain_steps(setting, TIME, keep)[skip:], tokens=setting.tokens)
    note = f"median of {keep - skip} steps; {keep} took {time.perf_counter() - started:.1f} s"
    return [ours._replace(note=note), *measure(path, case, sides, tokens=setting.tokens)]


def whole_chain(path: str, case: Case) -> list[Row]:
    """The chain from t = 1 over 1,000 steps: the time of its steps, and its total."""
    setting = case.setting("tiny", 128)
    seconds = chain_steps(setting, 0.02 if case.toy else 1.0, None)
    note = f"{len(seconds)} steps took {sum(seconds):.1f} s"
    return [of_steps(path, "ours, one step", seconds, tokens=setting.tokens, note=note)]


def entropy(path: str, case: Case) -> list[Row]:
    """Entropy of every prediction of 128 rows, in float32, float64 and bf16."""
    setting = case.setting("tiny", 128)
    process, noised, net = UniformProcess(setting.V, LogLinearSchedule()), setting.batch(), setting.network().eval()
    sigma_B, flops = process.level(noised.t_B).sigma, float(forward_flops(setting))

    def ours(dtype: torch.dtype, half: bool = False) -> Callable[[], object]:
        denoiser = Denoiser(process, setting.network().to(dtype).eval(), Parameterization.LEAVE_ONE_OUT)

        def call() -> object:
            with setting._replace(autocast=torch.bfloat16 if half else None).cast():
                return denoiser(lambda logits_CV, xt_C: (F.entropy(logits_CV),), noised.xt_BL, noised.t_B, None)

        return call

    @torch.no_grad()
    def textbook(dtype: torch.dtype) -> Tensor:
        logits_NV = net.head(net(noised.xt_BL, sigma_B).flatten(0, 1))
        return dense.entropy(logits_NV.to(dtype).view(setting.B, setting.L, setting.V))

    sides = {
        "ours, float32": ours(torch.float32),
        "ours, bf16": ours(torch.float32, half=True),
        "ours, float64": ours(torch.float64),
        TEXTBOOK[0]: partial(torch.compile(textbook), torch.float32),
        TEXTBOOK[1]: partial(textbook, torch.float32),
        "textbook, loss in float64": partial(textbook, torch.float64),
    }
    rows = measure(path, case, sides, tokens=setting.tokens, flops=flops)
    names = {"ours, bf16": "bfloat16", "ours, float64": ""}  # the speed of float64 products is not measured
    return [row._replace(dtype=names.get(row.side, "float32")) for row in rows]


def quickstart_step(path: str, case: Case) -> list[Row]:
    """A training step of the quickstart, by `uddm fit` and by a plain loop."""
    return [of_steps(path, side, steps) for side, steps in accelerator_fit.quickstart(case.device, case.toy)]


def fit_step(path: str, case: Case) -> list[Row]:
    """A training step of the paper's tiny model with 512 rows, by `uddm fit` and by a bare compiled loop."""
    setting = case.setting("tiny", 512)
    facts = {"tokens": setting.tokens, "flops": 3.0 * forward_flops(setting), "dtype": "bfloat16"}
    with tempfile.TemporaryDirectory() as folder:
        rows: list[Row] = []
        for side, steps, peak in accelerator_fit.tiny(setting, folder, case.toy):
            rows.append(of_steps(path, side, steps, peak=peak, **facts))
            case.save(rows)
    return rows


def quickstart_sweep(path: str, case: Case) -> list[Row]:
    """The whole quickstart sweep, once."""
    seconds = accelerator_fit.sweep(case.device, case.toy)
    return [Row(path, "ours", Seconds(seconds), note="once, with its measurements and report")]


# The most important paths come first: those that do not fit into the given time are left out.
PATHS: dict[str, Callable[[str, Case], list[Row]]] = {
    "products": lambda path, case: products(case),
    "training step, tiny, 256 rows": lambda path, case: training_step(path, "tiny", 256, case),
    "reverse step, tiny, 128 rows": reverse_step,
    "entropy, tiny, 128 rows": entropy,
    "quickstart step": quickstart_step,
    "training step, small, 128 rows": lambda path, case: training_step(path, "small", 128, case),
    "fit step, tiny, 512 rows": fit_step,
    "chain of 1,000 steps, tiny, 128 rows": whole_chain,
    "quickstart sweep": quickstart_sweep,
}
