"""The command `uddm calibrate`: fit and judge the probabilities of `uddm probe`'s verdict."""

import argparse
import json
import sys
from pathlib import Path

from uddm_lightning.audit.calibration import Calibration, fit_calibration, load_calibration
from uddm_lightning.audit.known_models import KnownModel, known_model, read_known_models, write_known_models
from uddm_lightning.audit.prediction_scores import score_lines, score_predictions
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import check_output_files, write_text
from uddm_lightning.runs.run import load_run
from uddm_lightning.sweeps.judged_models import judged_models

SAMPLES = 256  # of each model
EPILOG = """\
The regime of a checkpoint is that of its sweep: it follows from recovery of train and test rows. A run keeps its last
two checkpoints; a ModelCheckpoint in `trainer.callbacks` keeps more. Repeat this after the recipe of the models has
changed, and judge the result on sweeps with other texts, sizes, seeds and networks.
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm calibrate",
        description="Fit the probabilities of the regimes that `uddm probe` prints, on sweeps whose regimes are known, "
        "and judge them on other sweeps. The evidence is measured on the models' own samples alone.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "sweeps", nargs="*", type=Path, metavar="SWEEP", help="folder of a sweep, or a table that --table has written"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file for `uddm probe --calibration`")
    parser.add_argument(
        "--judge", action="append", default=[], type=Path, metavar="SWEEP", help="judge on this sweep; may be repeated"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="judge this calibration, without SWEEP; default: the shipped one",
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the evidence on the fitted models as CSV")
    parser.add_argument("--judged_table", type=Path, metavar="FILE", help="write that on the judged models as CSV")
    parser.add_argument("-n", type=int, metavar="K", help=f"samples of each model (default: {SAMPLES})")
    parser.add_argument("--weights", choices=("ema", "raw"), help="averaged (default) or raw weights")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    return parser


def calibrate(arguments: list[str]) -> int:
    """Run `uddm calibrate` and return its exit status.

    Raises:
        InputError: the arguments or a sweep are wrong, or a regime has too few models.
    """
    given = _parser().parse_args(arguments)
    _check(given)
    check_output_files({"--out": given.out, "--table": given.table, "--judged_table": given.judged_table})
    number, weights = given.n or SAMPLES, given.weights or "ema"

    def measured(places: list[Path], table: Path | None) -> list[KnownModel]:
        models = [model for place in places for model in _models(place, number, weights, given.device)]
        if table:
            write_known_models(table, models)
        return models

    calibration = _fit(measured(given.sweeps, given.table)) if given.sweeps else load_calibration(given.calibration)
    if given.out:
        write_text(given.out, json.dumps(calibration.to_json(), indent=1) + "\n")
    if given.judge:
        scores = score_predictions(calibration, measured(given.judge, given.judged_table))
        sys.stdout.write("\n".join(score_lines(scores)) + "\n")
    return 0


def _check(given: argparse.Namespace) -> None:
    """Refuse options that contradict each other, or that nothing uses."""
    check_options(vars(given), {"n": 2})
    if given.sweeps and given.calibration:
        raise InputError("`--calibration` is judged as it is: give it without SWEEP, and sweeps with `--judge`.")
    if not given.sweeps and not given.judge:
        raise InputError("Give at least one SWEEP to fit on, or `--judge SWEEP` to judge a calibration.")
    if not given.sweeps and given.out:
        raise InputError(f"`--out {given.out}` needs at least one SWEEP to fit on.")
    if given.table and not given.sweeps:
        raise InputError(f"`--table {given.table}` needs at least one SWEEP to fit on.")
    if given.judged_table and not given.judge:
        raise InputError(f"`--judged_table {given.judged_table}` needs `--judge SWEEP`.")
    places = [*given.sweeps, *given.judge]
    for place in places:
        if place.suffix != ".csv" and not place.is_dir():
            raise InputError(
                f"`{place}` is no folder. Give the folder of a sweep, or a table that --table has written."
            )
    if given.sweeps and not (given.out or given.table or given.judge):
        raise InputError("The calibration would be lost: give `--out FILE`, or `--judge SWEEP`.")
    measuring = {"-n": given.n, "--weights": given.weights, "--device": given.device}
    for option, value in measuring.items():
        if value is not None and all(place.suffix == ".csv" for place in places):
            raise InputError(f"`{option} {value}` is for sweeps; the evidence in a table is already measured.")


def _fit(models: list[KnownModel]) -> Calibration:
    calibration = fit_calibration(models)
    numbers = ", ".join(f"{number} {regime}" for regime, number in calibration.models.items())
    left_out = len(models) - sum(calibration.models.values())
    sys.stdout.write(f"fitted on {numbers}; {left_out} left out, whose regime is undetermined\n")
    return calibration


def _models(place: Path, num_rows: int, weights: str, device: str | None) -> list[KnownModel]:
    """Return the models of a sweep, or of a table."""
    if place.suffix == ".csv":
        return read_known_models(place)
    found = []
    for judged in judged_models(place):
        run = load_run(judged.run, str(judged.checkpoint), "raw" if weights == "raw" else "ema", device)
        found.append(known_model(run, judged, place.absolute().name, num_rows))
    return found
