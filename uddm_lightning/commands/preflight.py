"""The command `uddm preflight`: list the downloads and requirements of a run without starting it."""

import sys
from pathlib import Path
from typing import Any

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.config_files import find_valid_config
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.subset import num_rows
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import H100, GpuSpeed, estimate_run, read_speed, smallest_gpu_memory
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.preflight.requirements import Requirements, requirements
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.options import expand_files
from uddm_lightning.sweeps.sweep import parse_seeds
from uddm_lightning.sweeps.variant import Variant

HELP = """\
usage: uddm preflight -c CONFIG [--sizes SIZES] [--seeds SEEDS] [--backbone CONFIG]
                      [--price P] [--benchmark FILE] [any option of `uddm fit`]

Lists what `uddm fit` with the same arguments would download, how large that is and which part is
here already; the disk and memory it needs; parameters, rows and tokens; and whether this machine
can start it. Downloads and writes nothing. Exit status 2 if the run could not start.

It also estimates the memory and the hours of the training on a GPU, for the run and for a sweep
with the same --sizes, --seeds and --backbone. The operations of a step are counted; their speed is
that of one H100, or of the GPU of a table.

  --price P          price of a GPU hour, in any currency
  --benchmark FILE   table of `python -m tests.benchmarks` on the GPU that will train
"""


def preflight(arguments: list[str], hub: Hub | None = None) -> int:
    """Run `uddm preflight` and return its exit status.

    Args:
        arguments: of `uddm fit`, and options of `uddm sweep`.
        hub: lists files and their sizes; None is the Hugging Face hub.

    Raises:
        InputError: the arguments are wrong, or the run could not start; the table is written before that.
    """
    if set(arguments) & {"-h", "--help"} or not arguments:
        sys.stdout.write(HELP)
        return 0
    given, fit_arguments = _parser().parse_known_args(expand_files(arguments))
    if given.price is not None and not given.price >= 0:
        raise InputError(f"`--price {given.price}` must be at least 0.")
    speed = H100 if given.benchmark is None else read_speed(given.benchmark)
    config = resolve(fit_arguments).values
    found = requirements(config, hub)
    if found.vocab_size is not None and config["trainer"]["accelerator"] != "cpu":
        found.lines += _gpu(given, fit_arguments, found, speed)
    width = max(len(name) for name, _ in found.lines)
    sys.stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in found.lines))
    if found.problems:
        raise InputError("This run could not start here. " + " ".join(found.problems))
    return 0


def _parser() -> CommandParser:
    parser = CommandParser("uddm preflight", add_help=False, allow_abbrev=False)
    parser.add_argument("--price", type=float)
    parser.add_argument("--benchmark", type=Path)
    for option in ("--sizes", "--seeds", "--jobs", "--launcher"):  # the last two change no number
        parser.add_argument(option)
    parser.add_argument("--budget", type=int)
    parser.add_argument("--backbone", dest="backbones", action="append", default=[])
    return parser


def _gpu(given: Any, fit_arguments: list[str], found: Requirements, speed: GpuSpeed) -> list[tuple[str, str]]:
    """Return the lines on a GPU; empty if the operations of the backbone cannot be counted."""
    assert found.vocab_size is not None
    memory = smallest_gpu_memory() or speed.memory
    run = estimate_run(found.config, found.vocab_size, speed, memory)
    if run is None:
        return []
    number = _number_of_sizes(given.sizes, given.budget, found.config["data"]["train_size"], found.pool_rows)
    sweep = []
    if number is not None:
        number *= len(parse_seeds(given.seeds, 0))
        files = [str(find_valid_config("--backbone", name)) for name in given.backbones]
        configs = [Variant.of(fit_arguments, file).config for file in files]
        estimates = [estimate_run(config, found.vocab_size, speed, memory) for config in configs] or [run]
        sweep = [SweepRuns(number, estimate) for estimate in estimates]
    return gpu_lines(run, sweep, speed, given.price)


def _number_of_sizes(text: str | None, budget: int | None, largest: int | float, pool: int | None) -> int | None:
    """Return the number of sizes that `uddm sweep` trains; None if it depends on a pool of unknown size."""
    if text is not None and text.split(":")[0] == sizes.AUTO:
        return budget

    def rows_of(size: int | float) -> int:
        return num_rows(size, pool or max(10**9, int(size)), "--sizes")  # few fractions of a large pool coincide

    if text is None and (pool is None and isinstance(largest, float)):
        return None
    end = min(rows_of(largest), pool or sys.maxsize) if text is None else 0
    return len(sizes.parse(text or sizes.default_text(end), rows_of))
