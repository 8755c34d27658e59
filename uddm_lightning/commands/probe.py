"""The command `uddm probe`: conditional entropy of a model's predictions, measured without its training data."""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uddm_lightning.audit.calibration import Calibration, load_calibration
from uddm_lightning.audit.probe import Probed, probe_model
from uddm_lightning.audit.probe_page import probe_page
from uddm_lightning.audit.series import changes, curve_json, named
from uddm_lightning.audit.series_page import series_page
from uddm_lightning.audit.verdict import text_lines, verdict_lines
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.ranges import check_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import check_output_files, write_text
from uddm_lightning.interop.checkpoint_series import is_series, load_series
from uddm_lightning.interop.open_model import MODEL_HELP, ModelOptions, add_model_options, open_model
from uddm_lightning.runs.run import ENTROPY_TIMES, Run

COLUMNS = (
    *("split", "weights", "t", "sampler", "n_rows", "entropy", "entropy_low", "entropy_high"),
    *("entropy_corrupted", "entropy_clean", "entropy_leave_one_out", "self_token_influence"),
)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm probe",
        description="Measure conditional entropy against t, in nats per token, on rows that the model draws itself or "
        "on the lines of a text, and name the regime of the model: memorizing, in transition, generalizing, not "
        "learned yet or undetermined. No training data is needed. The verdict rests on own samples alone: entropy near "
        "0 on a text may also be certainty without ground.",
    )
    times = ",".join(f"{t:g}" for t in ENTROPY_TIMES)
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help=f"{MODEL_HELP}. A folder of checkpoints of a run or in Duo's layout, or of runs, gives a curve over "
        "steps with the verdict of each",
    )
    parser.add_argument("--ckpt_path", default="last", metavar="CKPT", help="a file, last (default) or previous")
    parser.add_argument("--text", type=Path, metavar="FILE", help="measure on its lines (UTF-8) instead of samples")
    parser.add_argument("-n", type=int, metavar="K", help="rows; default: 256 samples, or all lines of the text")
    parser.add_argument("--times", metavar="T,...", default=times, help="default: %(default)s")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or raw weights")
    parser.add_argument("--seed", type=int, help="of samples and noise; default: the run's")
    parser.add_argument("--steps", type=int, help="steps of the chain that draws; default: the run's")
    parser.add_argument("--device", help="such as cpu or cuda:1; default: a GPU where there is one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV, too")
    parser.add_argument("--json", type=Path, metavar="F", help="write verdict, evidence and table")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page with figures and samples")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="of the verdict, from `uddm calibrate`; default: the shipped one",
    )
    add_model_options(parser)
    return parser


def probe(arguments: list[str]) -> int:
    """Run `uddm probe` and return its exit status.

    Raises:
        InputError: the arguments, the model or the text are wrong.
    """
    given = _parser().parse_args(arguments)
    check_options(vars(given), {"n": 1, "steps": 1, "seed": 0})
    try:
        times = [float(word) for word in given.times.split(",")]
        if not all(0.0 < t <= 1.0 for t in times):
            raise ValueError(given.times)
    except ValueError as error:
        raise InputError(f"`--times {given.times}`: give times in (0, 1] with commas between them.") from error
    check_output_files({"--out": given.out, "--json": given.json, "--html": given.html})
    calibration = load_calibration(given.calibration)
    if is_series(given.model):
        _check_unused(given)
        return _probe_series(given, times, calibration)
    run = open_model(given.model, ModelOptions.of(given))
    records = run.entropy(given.text, times, given.n, given.seed).to_pylist()
    sys.stdout.write("\n".join(_lines(run, records)) + "\n")
    sys.stdout.flush()  # the evidence takes as long again
    if given.out:
        _write_csv(given.out, COLUMNS, records)
    probed = probe_model(run, calibration, records, given.text, given.n, given.seed)
    lines = verdict_lines(probed.verdict, probed.evidence)
    lines += text_lines(probed.text, probed.verdict) if probed.text else []
    sys.stdout.write("\n".join(lines) + "\n")
    if given.json:
        write_text(given.json, json.dumps(probed.to_json(), indent=1) + "\n")
    if given.html:
        write_text(given.html, probe_page(probed))
        sys.stdout.write(f"{given.html}\n")
    return 0


def _check_unused(given: argparse.Namespace) -> None:
    """Refuse options that a folder of checkpoints does not use."""
    for name in ("ckpt_path", "revision", "prompt", "length", "trust_remote_code"):
        value = getattr(given, name)
        if value and (name, value) != ("ckpt_path", "last"):
            option = "--trust-remote-code" if value is True else f"--{name} {value}"
            raise InputError(
                f"`{option}` is for one model, and `{given.model}` is a folder of several, which are all measured. "
                "Give one of them, or leave out the option."
            )


def _probe_series(given: argparse.Namespace, times: Sequence[float], calibration: Calibration) -> int:
    """Measure every checkpoint of a folder and write a curve over steps, with the verdict of each step."""
    records: list[dict[str, Any]] = []
    series: list[Probed] = []
    for run in load_series(given.model, weights=given.weights, device=given.device, steps=given.steps):
        mine = run.entropy(given.text, times, given.n, given.seed).to_pylist()
        if not records:
            rows = f"{mine[0]['n_rows']} " + ("own samples" if mine[0]["split"] == "samples" else "rows of text")
            sys.stdout.write(f"conditional entropy in nats per token, {rows}; {run.weights} weights\n")
            sys.stdout.write(f"{'step':>10}" + "".join(f"{f't = {t:g}':>12}" for t in times) + "  verdict\n")
        cells = "".join(f"{_cell(record['entropy']):>12}" for record in mine)
        sys.stdout.write(f"{run.step:>10,}{cells}")
        sys.stdout.flush()  # the evidence takes as long again, and a model of a gigabyte takes minutes
        series.append(probe_model(run, calibration, mine, given.text, given.n, given.seed))
        verdict = series[-1].verdict
        sys.stdout.write(f"  {named(series[-1])}, {verdict.probability:.2f}\n")
        about = {"verdict": verdict.name, "probability": verdict.probability}
        records += [{"step": run.step, **record, **about} for record in mine]
    sys.stdout.write("\n".join(changes(series)) + "\n")
    if given.out:
        _write_csv(given.out, ("step", *COLUMNS, "verdict", "probability"), records)
    if given.json:
        write_text(given.json, json.dumps(curve_json(series), indent=1) + "\n")
    if given.html:
        write_text(given.html, series_page(series))
        sys.stdout.write(f"{given.html}\n")
    return 0


def _write_csv(path: Path, columns: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())


def _lines(run: Run, records: Sequence[dict[str, Any]]) -> list[str]:
    task, first = run.model.task, records[0]
    rows = f"{first['n_rows']} " + ("own samples" if first["split"] == "samples" else "rows of text")
    special = ", special positions included" if run.model.tokenizer(fetch=False) is None else ""
    lines = [
        f"conditional entropy in nats per token, {rows}{special}; {run.weights} weights of step {run.step}",
        f"{'t':>8}  {'entropy':>8}  {'95 % interval':<17} {'corrupted':>9} {'clean':>7}",
    ]
    for record in records:
        interval = f"{_cell(record['entropy_low'])} to {_cell(record['entropy_high'])}"
        cells = f"{_cell(record['entropy_corrupted']):>9} {_cell(record['entropy_clean']):>7}"
        note = f"  {note}" if (note := run.entropy_caveat(record["t"])) else ""
        lines.append(f"{record['t']:>8g}  {_cell(record['entropy']):>8}  {interval:<17} {cells}{note}")
    lines.append(
        f"of uncorrupted rows at t = {task.objective.t_min:g}: {_cell(first['entropy_leave_one_out'])}; own-token leak "
        f"{_cell(first['self_token_influence'])} (0 for exact leave-one-out); uniform: "
        f"{math.log(task.process.vocab_size):.3f} (ln V)"
    )
    return lines


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
