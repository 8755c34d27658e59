"""The command `uddm convert`."""

import argparse
import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.convert import Converted
from uddm_lightning.interop.convert import convert as convert_model
from uddm_lightning.interop.download import download, is_hub_name

SHOWN = 8  # unused entries that are named

DESCRIPTION = """\
Import a model of another program as a run, so that it can be measured like any other run:

  a checkpoint in the layout of s-sahoo/duo, with its raw and its averaged weights;
  a folder in the layout of the Hugging Face hub (config.json, model.safetensors) of UDLM, MDLM,
  Duo, GIDD or gidd-unif, with its only set of weights;
  OWNER/NAME, such a folder on the hub. Its size is printed before the download.

Nothing in the file or folder is imported or executed: models of any origin are safe to read.

If the model names a known corpus, that corpus is used. For any other text, give a YAML file with
it, as in a config of `uddm fit`:

  data:
    source: {class_path: TextFiles, init_args: {paths: my.txt}}

The tokenizer must be the one that the model was trained with.
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm convert",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint, folder, or OWNER/NAME on the hub")
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the new run")
    parser.add_argument("--revision", help="branch, tag or commit of OWNER/NAME; default: the main branch")
    parser.add_argument("--name", metavar="NAME", help="of the model in results; default: `model.name` of the file")
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML that overrides the file's settings",
    )
    parser.add_argument(
        "--size",
        metavar="N",
        help="rows, or fraction of the pool, that count as training rows; default: `data.subset` of the file, else all",
    )
    parser.add_argument("--seed", metavar="S", help="of subset and noise; default: `seed` of the file")
    return parser


def convert(arguments: list[str]) -> int:
    """Run `uddm convert` and return its exit status.

    Raises:
        InputError: the arguments or the file are wrong, or the folder holds a run.
    """
    given = _parser().parse_args(arguments)
    path, folder = Path(given.model), Path(given.out)
    downloaded = download(given.model, given.revision) if is_hub_name(given.model) else None
    if downloaded:
        path = downloaded.folder
    elif given.revision is not None:
        raise InputError(f"`--revision {given.revision}` is for OWNER/NAME on the hub; `{path}` is a path.")
    options = (
        ("--model.backbone_name", given.name),
        ("--data.train_size", given.size),
        ("--seed_everything", given.seed),
    )
    overrides = [word for key, value in options if value is not None for word in (key, value)]
    converted = convert_model(path, folder, given.config, overrides, downloaded and downloaded.origin)
    sys.stdout.write("\n".join(_lines(given.model, converted, folder)) + "\n")
    return 0


def _lines(given: str, converted: Converted, folder: Path) -> list[str]:
    parameters, ids = f"{converted.parameters:,} parameters", f"{converted.vocab_size:,} ids"
    if converted.step is not None and converted.ema_decay is None:
        weights = f"step {converted.step:,}"
    elif converted.step is None:
        weights = "number of steps not known"
    else:
        ema = f"averaged weights with decay {converted.ema_decay:g}" if converted.ema_decay else "NO averaged weights"
        weights = f"step {converted.step:,}, {ema}"
    lines = [f"{Path(given).name}: {converted.layout}, {parameters}, {ids}, {weights}", *converted.notes]
    if converted.assumed:
        lines.append(f"not in the file, so the usual values are assumed: {', '.join(converted.assumed)}")
    if left_out := converted.left_out:
        lines.append(f"not used: {', '.join(left_out[:SHOWN])}{' ...' if len(left_out) > SHOWN else ''}")
    lines.append("It is not known whether the model was trained on the rows that it is measured on here.")
    lines.append(f"measure it: uddm probe {folder}, or uddm validate -c {folder / 'config.yaml'} --ckpt_path last")
    return lines
