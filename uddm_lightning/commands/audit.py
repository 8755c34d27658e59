"""The command `uddm audit`: whether a model gives away what it was trained on."""

import argparse
import json
import sys
from pathlib import Path

from uddm_lightning.audit.audit import DEFAULT_SETTINGS, AuditSettings
from uddm_lightning.audit.audit import audit as audit_model
from uddm_lightning.audit.page import audit_page
from uddm_lightning.audit.scores import NAMES, SIGNS, ScoreSettings
from uddm_lightning.audit.sequences import OWN
from uddm_lightning.audit.statements import findings
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError, check_within, suggest
from uddm_lightning.core.files import check_output_files, write_text
from uddm_lightning.interop.open_model import ModelOptions, add_model_options, is_foreign, open_model

EPILOG = """\
MEMBERS and NONMEMBERS are UTF-8 files with one text a line, or parts of the run's own corpus: `train`, rows that the
run was trained on; `pool`, rows of the training pool that it was not trained on; `test`, held-out rows. A file with
such a name is given as `./train`. Scores: loss, entropy, entropy_leave_one_out, recovery, critical_t (88 chains for
each sequence). The same command gives the same numbers. Options for models of the hub: as of `uddm probe`.
"""


def _parser() -> CommandParser:
    usual, noise = DEFAULT_SETTINGS, DEFAULT_SETTINGS.noise
    parser = CommandParser(
        prog="uddm audit",
        description="Test whether a model gives away its training data: membership of sequences, exposure of planted "
        "canaries and extraction of hidden parts. A classifier without the model tests first whether the two texts "
        "differ by themselves, in which case scores of the model prove nothing.",
        epilog=EPILOG,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="run, checkpoint, folder of the hub, or OWNER/NAME")
    parser.add_argument("--members", default="train", metavar="FILE", help="training text; default: train")
    parser.add_argument("--nonmembers", default="pool", metavar="FILE", help="text never seen; default: pool")
    parser.add_argument("--reference", type=Path, metavar="MODEL", help="model that did not see the members")
    parser.add_argument("--json", type=Path, metavar="F", help="write all numbers, with the scores of each sequence")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page with figures")
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="a file, last (default) or previous")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument("--rows", type=int, default=usual.rows, help="largest number of sequences of each group")
    parser.add_argument("--scores", default=",".join(NAMES), metavar="NAME,...", help="default: %(default)s")
    parser.add_argument("--t", type=float, default=noise.t, help="time of entropy and recovery (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=noise.draws, help="draws of noise for each sequence")
    parser.add_argument(
        "--extraction_rows", type=int, default=usual.extraction_rows, metavar="K", help="sequences to extract; 0: none"
    )
    parser.add_argument("--attempts", type=int, default=usual.attempts, help="attempts to extract each sequence")
    parser.add_argument(
        "--hidden_share", type=float, default=usual.hidden_share, metavar="SHARE", help="part of a sequence to hide"
    )
    parser.add_argument(
        "--alternatives", type=int, default=usual.alternatives, metavar="K", help="rows beside canaries; 0: no canaries"
    )
    parser.add_argument("--seed", type=int, default=noise.seed, help="of noise and resamples")
    parser.add_argument("--steps", type=int, help="steps of the chain; default: the run's")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    add_model_options(parser, shown=False)
    return parser


def audit(arguments: list[str]) -> int:
    """Run `uddm audit` and return its exit status.

    Raises:
        InputError: the arguments, a model or a text are wrong.
    """
    given = _parser().parse_args(arguments)
    least = {"rows": 2, "draws": 1, "attempts": 1, "steps": 1, "extraction_rows": 0, "alternatives": 0, "seed": 0}
    check_options(vars(given), least)
    check_within("(0, 1]", "--", t=given.t, hidden_share=given.hidden_share)
    settings = AuditSettings(
        rows=given.rows,
        scores=_names(given.scores),
        noise=ScoreSettings(given.t, given.draws, given.seed),
        extraction_rows=given.extraction_rows,
        attempts=given.attempts,
        hidden_share=given.hidden_share,
        alternatives=given.alternatives,
    )

    check_output_files({"--json": given.json, "--html": given.html})
    options = ModelOptions.of(given)
    model = open_model(given.model, options)
    if is_foreign(model.folder):
        _check_files(given)
    reference = open_model(given.reference, options._replace(ckpt_path="last")) if given.reference else None
    found = audit_model(model, given.members, given.nonmembers, reference, settings)
    sys.stdout.write(findings(found).text())
    if given.json:
        write_text(given.json, json.dumps(found, indent=1) + "\n")
    if given.html:
        write_text(given.html, audit_page(found))
        sys.stdout.write(f"{given.html}\n")
    return 0


def _check_files(given: argparse.Namespace) -> None:
    """Refuse rows of a corpus as members or nonmembers of a model whose training rows are not known."""
    for option in ("members", "nonmembers"):
        if (part := getattr(given, option)) in OWN:
            raise InputError(
                f"`--{option} {part}`: the rows that `{given.model}` was trained on are not known here. Give files of "
                "text as `--members` and `--nonmembers`."
            )


def _names(given: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given.split(","))
    for name in names:
        if name not in SIGNS:
            near = suggest(name, SIGNS)
            raise InputError(f"`--scores {given}`: there is no score {name!r}{near} Scores: {', '.join(SIGNS)}.")
    return names
