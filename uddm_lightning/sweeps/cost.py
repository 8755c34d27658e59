"""Requirements and cost of a run, and of a sweep of such runs, before anything is started."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.config_files import find_valid_config
from uddm_lightning.data.subset import num_rows
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import GpuSpeed, estimate_run, smallest_gpu_memory
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.preflight.requirements import Requirements, requirements
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.sweep import parse_seeds
from uddm_lightning.sweeps.variant import Variant


class PlannedSweep(NamedTuple):
    """Options that decide the number of runs of a sweep, as they are given.

    Attributes:
        sizes: `--sizes`; None stands for the default sizes.
        seeds: `--seeds`; None stands for one seed.
        budget: `--budget`.
        backbones: files of `--backbone`.
    """

    sizes: str | None = None
    seeds: str | None = None
    budget: int | None = None
    backbones: Sequence[str] = ()


def estimate_cost(
    arguments: list[str], sweep: PlannedSweep, speed: GpuSpeed, price: float | None = None, hub: Hub | None = None
) -> Requirements:
    """Return the requirements of a run, with its GPU time and memory and those of a sweep.

    Args:
        arguments: of `uddm fit`.
        sweep: the sweep.
        speed: of the GPU.
        price: of a GPU hour; None for no line on the price.
        hub: lists files and their sizes; None is the Hugging Face hub.

    Raises:
        InputError: the arguments are wrong.
    """
    config = resolve(arguments).values
    found = requirements(config, hub)
    if found.vocab_size is not None and config["trainer"]["accelerator"] != "cpu":
        found.lines += _gpu(arguments, sweep, found, found.vocab_size, speed, price)
    return found


def _gpu(
    arguments: list[str],
    sweep: PlannedSweep,
    found: Requirements,
    vocab_size: int,
    speed: GpuSpeed,
    price: float | None,
) -> list[tuple[str, str]]:
    """Return the lines on a GPU; empty if the operations of the backbone cannot be counted."""
    memory = smallest_gpu_memory() or speed.memory
    run = estimate_run(found.config, vocab_size, speed, memory)
    if run is None:
        return []
    number = _number_of_sizes(sweep, found.config["data"]["train_size"], found.pool_rows)
    runs = []
    if number is not None:
        number *= len(parse_seeds(sweep.seeds, 0))
        files = [str(find_valid_config("--backbone", name)) for name in sweep.backbones]
        configs = [Variant.of(arguments, file).config for file in files]
        estimates = [estimate_run(config, vocab_size, speed, memory) for config in configs] or [run]
        runs = [SweepRuns(number, estimate) for estimate in estimates]
    return gpu_lines(run, runs, speed, price)


def _number_of_sizes(sweep: PlannedSweep, largest: int | float, pool: int | None) -> int | None:
    """Return the number of sizes that `uddm sweep` trains; None if it depends on a pool of unknown size."""
    text = sweep.sizes
    if text is not None and text.split(":")[0] == sizes.AUTO:
        return sweep.budget

    def rows_of(size: int | float) -> int:
        return num_rows(size, pool or max(10**9, int(size)), "--sizes")  # few fractions of a large pool coincide

    if text is None and (pool is None and isinstance(largest, float)):
        return None
    end = min(rows_of(largest), pool or sys.maxsize) if text is None else 0
    return len(sizes.parse(text or sizes.default_text(end), rows_of))
