"""Requirements and cost of a run, and of a sweep of such runs, before anything is started."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.subset import num_rows
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import GpuSpeed, estimate_run, smallest_gpu_memory
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.preflight.requirements import Requirements, requirements
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.sweep import models_of, parse_seeds


class PlannedSweep(NamedTuple):
    """Options that decide the number of runs of a sweep, as they are given.

    Attributes:
        sizes: `--sizes`; None stands for the default sizes.
        seeds: `--seeds`; None stands for one seed.
        budget: `--budget`.
        backbones: files of `--backbone`.
        variants: texts of `--variant`.
    """

    sizes: str | None = None
    seeds: str | None = None
    budget: int | None = None
    backbones: Sequence[str] = ()
    variants: Sequence[str] = ()


def estimate_cost(
    arguments: list[str], sweep: PlannedSweep, speed: GpuSpeed, price: float | None = None, hub: Hub | None = None
) -> Requirements:
    """Return the requirements of a run, with its GPU time and memory and those of a sweep.

    Args:
        arguments: of `uddm fit`; those that the runs of the sweep share.
        sweep: the sweep.
        speed: of the GPU.
        price: of a GPU hour; None for no line on the price.
        hub: lists files and their sizes; None is the Hugging Face hub.

    Raises:
        InputError: the arguments are wrong.
    """
    sizes.check_budget(sweep.sizes, sweep.budget)
    number_of_seeds = len(parse_seeds(sweep.seeds, 0))
    config = resolve(arguments).values
    gpu = config["trainer"]["accelerator"] != "cpu"
    if price is not None and not gpu:
        raise InputError(f"`--price {price:g}` is that of a GPU hour, and `trainer.accelerator` is cpu; leave it out.")
    found = requirements(config, hub)
    models = models_of(arguments, sweep.backbones, sweep.variants)
    for model in models:
        found.add_model(model.name, model.config)
    number_of_sizes = _number_of_sizes(sweep, found.config["data"]["train_size"], found.pool_rows)
    number = None if number_of_sizes is None else number_of_sizes * number_of_seeds
    lines = _gpu([model.config for model in models], found, number, speed, price) if gpu else []
    if not lines and number is not None:
        lines = [("sweep", f"{number * max(1, len(models))} runs")]
    if price is not None and "price" not in dict(lines):
        lines.append(("price", "not known, because the GPU hours are not estimated"))
    found.lines += lines
    return found


def _gpu(
    models: list[dict[str, Any]], found: Requirements, number: int | None, speed: GpuSpeed, price: float | None
) -> list[tuple[str, str]]:
    """Return the lines on a GPU; empty if the operations of the backbone cannot be counted.

    Args:
        models: configurations of the models of the sweep; empty if it is that of the run.
        found: requirements of the run.
        number: of runs of each model; None if it is not known.
        speed: of the GPU.
        price: of a GPU hour.
    """
    memory, vocab_size = smallest_gpu_memory() or speed.memory, found.vocab_size
    run = None if vocab_size is None else estimate_run(found.config, vocab_size, speed, memory)
    if run is None or vocab_size is None:
        return []
    estimates = [estimate_run(config, vocab_size, speed, memory) for config in models] or [run]
    runs = [] if number is None else [SweepRuns(number, estimate) for estimate in estimates]
    return gpu_lines(run, runs, speed, price)


def _number_of_sizes(sweep: PlannedSweep, largest: int | float, pool: int | None) -> int | None:
    """Return the number of sizes that `uddm sweep` trains; None if it depends on a pool of unknown size."""
    text = sweep.sizes
    if sizes.is_auto(text):
        return sweep.budget

    def rows_of(size: int | float) -> int:
        return num_rows(size, pool or max(10**9, int(size)), "--sizes")  # few fractions of a large pool coincide

    if text is None and (pool is None and isinstance(largest, float)):
        return None
    end = min(rows_of(largest), pool or sys.maxsize) if text is None else 0
    return len(sizes.parse(sizes.default_text(end) if text is None else text, rows_of))
