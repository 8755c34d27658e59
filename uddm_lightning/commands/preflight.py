"""The command `uddm preflight`: list the downloads and requirements of a run without starting it."""

import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.gpu_estimate import H100, read_speed
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.sweeps.cost import PlannedSweep, estimate_cost
from uddm_lightning.sweeps.options import expand_files

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
    sweep = PlannedSweep(given.sizes, given.seeds, given.budget, given.backbones)
    found = estimate_cost(fit_arguments, sweep, speed, given.price, hub)
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
