"""The command `uddm export`."""

import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.interop.export import check_empty, check_push, push
from uddm_lightning.interop.export import export as export_run
from uddm_lightning.runs.run import load_run


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm export",
        description="Write the weights of a run as safetensors, with a JSON config, the tokenizer, and a model "
        "card with measurements and samples. `uddm_lightning.interop.load_exported(FOLDER)` loads the network; `uddm "
        "probe FOLDER` measures it, and `uddm convert FOLDER` makes it a run again.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, or its config.yaml")
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="a file, last (default) or previous")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument(
        "--samples", type=int, default=3, metavar="K", help="texts in the card that the model draws (default: 3)"
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this repository of the hub, too")
    return parser


def export(arguments: list[str]) -> int:
    """Run `uddm export` and return its exit status.

    Raises:
        InputError: the arguments, the config or the checkpoint are wrong, the folder is not empty, or the upload fails.
    """
    given = _parser().parse_args(arguments)
    check_options(vars(given), {"samples": 0})
    check_empty(given.out)
    if given.push:
        check_push(given.push)
    files = export_run(load_run(given.run, given.ckpt_path, given.weights, "cpu"), given.out, given.samples)
    sys.stdout.write(f"{given.out}: {', '.join(files)}\n")
    if given.push:
        sys.stdout.write(f"{push(given.out, given.push)}\n")
    return 0
