"""The command `uddm sweep`."""

import argparse
import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.options import expand_files
from uddm_lightning.sweeps.results import PAGE_ONLY, summary
from uddm_lightning.sweeps.sweep import sweep as run_sweep
from uddm_lightning.sweeps.text_config import expand_text

EPILOG = """\
With --text, the alphabet or vocabulary, the length of rows, the sizes and the steps are chosen from
the text and the machine, and printed; the text may be in any language, or code. Other options
override the choices.

Every other option is passed to `uddm fit`; `uddm fit --help` lists them. Options of a launcher
follow its name: `--launcher slurm --launcher.partition gpu --launcher.timeout_min 120`.

The same command continues a sweep that was stopped. Finished runs are never repeated.
"""


def sweep_parser(prog: str = "uddm sweep", add_help: bool = True) -> CommandParser:
    """Return the parser of the options of `uddm sweep`, for a command `prog` that takes them."""
    parser = CommandParser(
        prog=prog,
        add_help=add_help,
        description="Train and measure every backbone at every size with every seed, and write the report.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        metavar="CONFIG",
        help="as for `uddm fit`; a file with the section `sweep:` alone gives options of this command",
    )
    parser.add_argument(
        "--text",
        action="append",
        metavar="FILE",
        help="instead of -c: a text file, a pattern or a folder; several are read together",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the sweep; default with --text: named after the text",
    )
    parser.add_argument(
        "--sizes",
        metavar="SIZES",
        help="training rows: a list (8,64,512), a range (2:8192:x4), fractions of the pool (0.001,0.01,1.0) or auto; "
        "default: from 2 to data.train_size (at most the pool), each 4 times the previous one",
    )
    parser.add_argument(
        "--budget", type=int, metavar="R", help="with --sizes auto: number of sizes to train near the transition"
    )
    parser.add_argument("--seeds", metavar="SEEDS", help="comma-separated; default: the config's seed_everything")
    parser.add_argument(
        "--backbone",
        dest="backbones",
        action="append",
        default=[],
        metavar="CONFIG",
        help="path or name of a config to lay over the others; its stem names the model in results; several give "
        "several models",
    )
    parser.add_argument(
        "--variant",
        dest="variants",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="instead of --backbone: a model with other values of some options, such as "
        """'dropout={"model.backbone.init_args.dropout": 0.1}'""",
    )
    parser.add_argument(
        "--at-steps",
        metavar="STEPS",
        help="measure every run at these optimizer steps, a list (500,1000) or a range (125:4000:x2), and train to the "
        "last one; only recovery and entropy at the t nearest 0.1 and the NELBO, unless other options say so",
    )
    parser.add_argument(
        "--keep-checkpoints", action="store_true", help="with --at-steps: keep the weights at each of these steps"
    )
    parser.add_argument("--page-only", action="store_true", help=PAGE_ONLY)
    parser.add_argument("--jobs", type=int, metavar="K", help="runs at a time, at most; default: as many as fit")
    parser.add_argument("--launcher", default="local", metavar="NAME", help="local (default), slurm or a class path")
    return parser


def sweep(arguments: list[str]) -> int:
    """Run `uddm sweep` and return its exit status.

    Raises:
        InputError: the arguments, a config or a folder are wrong.
    """
    arguments, choices = expand_text(arguments)
    sys.stdout.write(choices)
    sys.stdout.flush()
    given, options = sweep_parser().parse_known_args(expand_files(arguments))
    del given.text  # replaced by configs
    if given.config is None or given.out is None:
        raise InputError("`uddm sweep` needs `-c CONFIG --out DIR`, or `--text FILE`; `uddm configs` lists configs.")
    try:
        found = run_sweep(options=options, **vars(given))
    except KeyboardInterrupt:
        sys.stderr.write("uddm: stopped. The same command continues the sweep.\n")
        return 1
    if found.transition:
        sys.stdout.write(f"{summary(found.transition)}\n{found.report}\n")
    if found.failed:
        failed = f"{len(found.failed)} run(s) failed: {', '.join(found.failed)}"
        sys.stderr.write(f"uddm: {failed}. The same command trains them again.\n")
    return int(bool(found.failed))
