"""Lines of `uddm preflight` on the GPU hours, memory and price of a run and of a sweep."""

from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.preflight.gpu_estimate import GpuSpeed, RunEstimate


class SweepRuns(NamedTuple):
    """Runs of a sweep with one backbone.

    Attributes:
        number: number of runs.
        estimate: of each of them; None if the operations of the backbone cannot be counted.
    """

    number: int
    estimate: RunEstimate | None


def gpu_lines(
    run: RunEstimate, sweep: Sequence[SweepRuns], speed: GpuSpeed, price: float | None
) -> list[tuple[str, str]]:
    """Return names and values of the lines.

    Args:
        run: the run.
        sweep: the runs of the sweep, one entry for each backbone; empty if their number is unknown.
        speed: the GPU.
        price: of a GPU hour, in any currency; None for no line on the price.
    """
    step = (
        f"{_rounded(1e3 * run.step_seconds)} ms a step: {_rounded(run.step_flops / 1e12)} TFLOP at {run.share:.1%} of "
        f"{speed.products / 1e12:.0f} TFLOP/s, and at least {1e3 * speed.shortest_step:.3g} ms ({speed.source})"
    )
    lines = [("GPU memory", f"about {run.memory / 1e9:.3g} GB per process, estimated; with CUDA and activations")]
    if run.gpu_hours is None:
        return [*lines, ("GPU time", f"estimated {step}; the number of steps is not limited")]
    lines.append(
        ("GPU time", f"about {_rounded(run.gpu_hours)} {speed.name} hours, estimated without measurements; {step}")
    )
    prices = [f"about {_rounded(price * run.gpu_hours)} for the run"] if price is not None else []
    hours = [runs.number * runs.estimate.gpu_hours for runs in sweep if runs.estimate and runs.estimate.gpu_hours]
    if sweep and len(hours) == len(sweep):
        number = sum(runs.number for runs in sweep)
        lines.append(("sweep", f"{number} runs, about {_rounded(sum(hours))} {speed.name} hours, estimated as above"))
        prices += [f"{_rounded(price * sum(hours))} for the sweep"] if price is not None else []
    if price is not None:
        lines.append(("price", f"{', '.join(prices)}, at {price:g} for a GPU hour"))
    return lines


def _rounded(number: float) -> str:
    """Return a number with three digits, and with all of its digits before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
