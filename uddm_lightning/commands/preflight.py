"""The command `uddm preflight`: list the requirements of a run or of a probe without starting it."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from uddm_lightning.commands.sweep import sweep_parser
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.preflight import plan_probe
from uddm_lightning.interop.pretrained_settings import PretrainedOptions
from uddm_lightning.preflight.gpu_estimate import H100, read_speed
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.preflight.requirements import Requirements
from uddm_lightning.sweeps.cost import PlannedSweep, estimate_cost
from uddm_lightning.sweeps.options import expand_files, split_launcher_options
from uddm_lightning.sweeps.sweep import check_filled_in, fit_arguments, make_launcher
from uddm_lightning.sweeps.text_config import expand_text

HELP = """\
usage: uddm preflight -c CONFIG [any option of `uddm sweep`] [--price P] [--benchmark FILE]
                      [any option of `uddm fit`]
       uddm preflight MODEL [--revision R] [--length L] [--steps S] [--device D]

Lists what `uddm fit` with the same arguments would download, how large that is and which part is
here already; the disk and memory it needs; parameters, rows and tokens; and whether this machine
can start it. Downloads and writes nothing. Exit status 2 if the run could not start.

With options of `uddm sweep`, such as --sizes, --seeds, --variant and --at-steps, it also lists the
models and the number of runs of the sweep. Unless the config trains on a CPU, it estimates the
memory and the hours of the training on a GPU, for the run and for the sweep. The operations of a
step are counted; their speed is that of one H100, or of the GPU of a table.

  --price P          price of a GPU hour, in any currency
  --benchmark FILE   table of `python -m tests.benchmarks` on the GPU that will train

With a MODEL, a folder or OWNER/NAME of the hub or a checkpoint in Duo's layout, it lists what
`uddm probe MODEL` takes: memory, device and the least time. The weights are neither read nor
downloaded; the speed of the device is measured for a fifth of a second.
"""

# options that only a deployed model takes
MODEL_OPTIONS = ("--revision", "--prompt", "--device", "--length", "--steps", "--trust-remote-code")


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
    first = arguments[0].partition("=")[0]
    if not first.startswith("-") or first in MODEL_OPTIONS:
        return _preflight_model(arguments)
    with TemporaryDirectory() as folder:  # of configs for `--text`
        arguments, choices = expand_text(arguments, Path(folder))
        sys.stdout.write(choices)
        found = _requirements(arguments, hub)
    _write(found.lines)
    if found.problems:
        raise InputError("This run could not start here. " + " ".join(found.problems))
    return 0


def _requirements(arguments: list[str], hub: Hub | None) -> Requirements:
    parser = sweep_parser("uddm preflight", add_help=False)  # what a sweep takes is never ignored here
    parser.add_argument("--price", type=float)
    parser.add_argument("--benchmark", type=Path)
    given, rest = parser.parse_known_args(expand_files(arguments))
    if given.price is not None and not given.price >= 0:
        raise InputError(f"`--price {given.price}` must be at least 0.")
    speed = H100 if given.benchmark is None else read_speed(given.benchmark)
    for_launcher, options = split_launcher_options(rest)
    make_launcher(given.launcher, given.jobs, for_launcher)
    options += [] if given.out is None else ["--out", str(given.out)]
    files = [word for file in given.config or [] for word in ("-c", file)]
    if given.seeds is not None:
        check_filled_in(options)
    shared = fit_arguments(files, options, given.sizes, given.at_steps, given.keep_checkpoints, given.variants)
    sweep = PlannedSweep(given.sizes, given.seeds, given.budget, given.backbones, given.variants)
    return estimate_cost(shared, sweep, speed, given.price, hub)


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
