"""The command `uddm preflight`: list the requirements of a run or of a probe without starting it."""

import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.preflight import plan_probe
from uddm_lightning.interop.pretrained_settings import PretrainedOptions
from uddm_lightning.preflight.gpu_estimate import H100, read_speed
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.sweeps.cost import PlannedSweep, estimate_cost
from uddm_lightning.sweeps.options import expand_files

HELP = """\
usage: uddm preflight -c CONFIG [--sizes SIZES] [--seeds SEEDS] [--backbone CONFIG]
                      [--price P] [--benchmark FILE] [any option of `uddm fit`]
       uddm preflight MODEL [--revision R] [--length L] [--steps S] [--device D]

Lists what `uddm fit` with the same arguments would download, how large that is and which part is
here already; the disk and memory it needs; parameters, rows and tokens; and whether this machine
can start it. Downloads and writes nothing. Exit status 2 if the run could not start.

It also estimates the memory and the hours of the training on a GPU, for the run and for a sweep
with the same --sizes, --seeds and --backbone. The operations of a step are counted; their speed is
that of one H100, or of the GPU of a table.

  --price P          price of a GPU hour, in any currency
  --benchmark FILE   table of `python -m tests.benchmarks` on the GPU that will train

With a MODEL, a folder or OWNER/NAME of the hub or a checkpoint in Duo's layout, it lists what
`uddm probe MODEL` takes: memory, device and the least time. The weights are neither read nor
downloaded; the speed of the device is measured for a fifth of a second.
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
    if not arguments[0].startswith("-"):
        return _preflight_model(arguments)
    given, fit_arguments = _parser().parse_known_args(expand_files(arguments))
    if given.price is not None and not given.price >= 0:
        raise InputError(f"`--price {given.price}` must be at least 0.")
    speed = H100 if given.benchmark is None else read_speed(given.benchmark)
    sweep = PlannedSweep(given.sizes, given.seeds, given.budget, given.backbones)
    found = estimate_cost(fit_arguments, sweep, speed, given.price, hub)
    _write(found.lines)
    if found.problems:
        raise InputError("This run could not start here. " + " ".join(found.problems))
    return 0


def _preflight_model(arguments: list[str]) -> int:
    parser = CommandParser("uddm preflight", add_help=False, allow_abbrev=False)
    parser.add_argument("model")
    for option in ("--revision", "--prompt", "--device"):
        parser.add_argument(option)
    parser.add_argument("--length", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--trust-remote-code", action="store_true")
    given = parser.parse_args(arguments)
    check_options(vars(given), {"steps": 1, "length": 2})
    options = PretrainedOptions(given.device, given.steps, given.trust_remote_code, given.prompt, given.length)
    plan = plan_probe(given.model, given.revision, options)
    _write(plan.lines)
    if plan.problem:
        raise InputError(plan.problem)
    return 0


def _write(lines: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    sys.stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in lines))


def _parser() -> CommandParser:
    parser = CommandParser("uddm preflight", add_help=False, allow_abbrev=False)
    parser.add_argument("--price", type=float)
    parser.add_argument("--benchmark", type=Path)
    for option in ("--sizes", "--seeds", "--jobs", "--launcher"):  # the last two change no number
        parser.add_argument(option)
    parser.add_argument("--budget", type=int)
    parser.add_argument("--backbone", dest="backbones", action="append", default=[])
    return parser
