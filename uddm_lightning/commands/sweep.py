"""The commands `uddm sweep` and `uddm report`."""

import argparse
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from uddm_lightning.backbones import MarkovBackbone
from uddm_lightning.config.parser import CommandParser, UddmParser, sanitize_message
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.data.subset import rows_of
from uddm_lightning.report import write_report
from uddm_lightning.results.tables import read_table
from uddm_lightning.runs.instantiate import build_data, check_critic
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.collect import about, basins_of, collect, draws_of, run_folders, sequences_of
from uddm_lightning.sweeps.launchers import Launcher
from uddm_lightning.sweeps.options import with_files
from uddm_lightning.sweeps.run_all import Sweep
from uddm_lightning.sweeps.sweep_run import SweepRun
from uddm_lightning.sweeps.variant import Variant
from uddm_lightning.training.trainer_access import check_precision
from uddm_lightning.transition import estimate, next_sizes

SHORT = {"local": "LocalLauncher", "slurm": "SlurmLauncher"}
OWN = ("--seed_everything", "--ckpt_path", "--trainer.default_root_dir")  # the sweep fills these in
SIZE = "--data.train_size"  # where sizes end that `--sizes` does not name
PLATEAU = 8  # rows; fewer say little about other subsets of that size
NAMES = {"n_mem": "N_mem", "n_gen": "N_gen", "n_half": "N_half"}  # keys of transition.json in the terminal
REFERENCE = 0.1  # the t at which a line in the terminal speaks of a run

EPILOG = """\
Every other option is handed to `uddm fit`: `uddm fit --help` lists them. A launcher's own options follow its name:
`--launcher slurm --launcher.partition gpu --launcher.timeout_min 120`.

The same command goes on where it was stopped. Finished runs are never repeated.
"""


def _sweep_parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm sweep",
        description="Trains and measures every backbone at every size with every seed, and writes the report.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        required=True,
        metavar="CONFIG",
        help="as for `uddm fit`; a file with nothing but `sweep:` in it gives options of this command",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the sweep")
    parser.add_argument(
        "--sizes",
        metavar="SIZES",
        help="training rows: a list (8,64,512), a range (2:8192:x4), fractions of the pool (0.001,0.01,1.0) or auto; "
        "default: from 2 to data.train_size (at most the pool), each 4 times the one before",
    )
    parser.add_argument(
        "--budget", type=int, metavar="R", help="with --sizes auto: how many sizes to train, where the transition is"
    )
    parser.add_argument("--seeds", metavar="SEEDS", help="comma-separated; default: the config's seed_everything")
    parser.add_argument(
        "--backbone",
        action="append",
        metavar="FILE",
        help="YAML laid over the config, named by its stem in results; several give several models",
    )
    parser.add_argument("--jobs", type=int, metavar="K", help="runs at a time, at most; default: as many as fit")
    parser.add_argument("--launcher", default="local", metavar="NAME", help="local (default), slurm or a class path")
    return parser


def sweep(arguments: list[str]) -> int:
    """Runs `uddm sweep`; returns its exit status.

    Raises:
        InputError: the arguments, a config or a folder are wrong.
    """
    given, rest = _sweep_parser().parse_known_args(with_files(arguments))
    for_launcher, overrides = _apart(rest)
    largest = _last(overrides, SIZE)
    named = given.sizes not in (None, sizes.AUTO)
    if largest is not None and named:
        raise InputError(f"`{SIZE} {largest}` says where sizes end that `--sizes` does not name; give one of the two.")
    for word in overrides:
        if word.partition("=")[0] in OWN:
            raise InputError(f"`{word}` is for the sweep to fill in: use `--sizes`, `--seeds` and `--out`.")
    launcher = _launcher(given.launcher, given.jobs, for_launcher)
    configs = [word for path in given.config for word in ("-c", path)]
    settings = [Variant.of([*configs, *overrides], fragment) for fragment in given.backbone or [None]]
    names = [setting.name for setting in settings]
    if len(set(names)) < len(names):
        raise InputError(f"`--backbone`: results are told apart by the stems of the files, and these are {names}.")
    config = settings[0].config
    seeds = _seeds(given.seeds, config["seed_everything"])

    launcher.check()
    for setting in settings:
        check_critic(setting.config, fetch=True)
        trainer = setting.config["trainer"]
        check_precision(trainer["precision"], launcher.on_cpu(trainer["accelerator"]))
    data = build_data(config)
    pool = len(data.corpus.train)  # prepares the corpus once, before many runs ask for it
    known = data.chain is not None and MarkovBackbone.__name__ not in names
    best = Variant.best([*configs, *overrides]) if known else None
    end = config["data"]["train_size"]
    if largest is None and isinstance(end, int) and end > pool:
        if not named:
            sys.stderr.write(
                f"uddm: sizes end at {pool}, the training rows of the text, not at `data.train_size` = {end}.\n"
            )
        end = pool
    key = "--sizes" if named else "data.train_size"
    plan = _plan(given.sizes, given.budget, end, lambda size: rows_of(size, pool, key))

    folder = Path(given.out).absolute()
    work = Sweep(folder, settings, seeds, launcher, best)
    with work.alone():
        try:
            plan(work)
        except KeyboardInterrupt:
            sys.stderr.write("uddm: stopped. The same command goes on from here.\n")
            return 1
        if run_folders(folder):
            _write(folder)
    if work.failed:
        names = [outcome.cell.name for outcome in work.failed]
        sys.stderr.write(f"uddm: {len(names)} run(s) failed: {', '.join(names)}. The same command tries them again.\n")
        return 1
    return 0


def report(arguments: list[str]) -> int:
    """Runs `uddm report`; returns its exit status.

    Raises:
        InputError: the folder holds no measurements, or a table is damaged.
    """
    parser = CommandParser(
        prog="uddm report",
        description="Reads the tables of a sweep, or of any folder of runs, and writes transition.json, figures and "
        "report.html there. No checkpoint is needed.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="folder of a sweep, or of runs")
    _write(Path(parser.parse_args(arguments).folder).absolute())
    return 0


def _apart(words: list[str]) -> tuple[list[str], list[str]]:
    """The launcher's own options with their values, and the other words."""
    ours: list[str] = []
    others: list[str] = []
    target = others
    for word in words:
        if word.startswith("-"):
            target = ours if word.startswith("--launcher.") else others
        target.append(word)
    return ours, others


def _last(words: list[str], option: str) -> str | None:
    """The value of an option; None where it is not given."""
    value = None
    for word, following in pairwise([*words, ""]):
        name, _, inline = word.partition("=")
        if name == option:
            value = inline or following
    return value


def _launcher(name: str, jobs: int | None, words: list[str]) -> Launcher:
    parser = UddmParser()
    parser.add_subclass_arguments(Launcher, "launcher", required=True)
    at_a_time = [] if jobs is None else ["--launcher.jobs", str(jobs)]
    try:
        config = parser.parse_args(["--launcher", SHORT.get(name, name), *at_a_time, *words])
        launcher = parser.instantiate(config).launcher
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(sanitize_message(str(error))) from error
    assert isinstance(launcher, Launcher)
    return launcher


def _seeds(text: str | None, default: int) -> list[int]:
    if text is None:
        return [default]
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"`--seeds {text}` is no comma-separated list of integers such as 0,1,2.") from error
    if min(seeds) < 0:
        raise InputError(f"`--seeds {text}`: a seed is at least 0.")
    return sorted(set(seeds))


def _plan(
    text: str | None, budget: int | None, largest: int | float, rows: Callable[[int | float], int]
) -> Callable[[Sweep], None]:
    """What to train, and in which order."""
    end = rows(largest)
    word, *ends = (text or f"{min(2, end)}:{end}:x4,{end}").split(":")
    if word != sizes.AUTO:
        if budget is not None:
            raise InputError(f"`--budget {budget}` goes with `--sizes auto`, which decides by itself what to train.")
        fixed = sizes.parse(text or f"{min(2, end)}:{end}:x4,{end}", rows)
        return lambda work: _train_all(work, fixed)
    if len(ends) not in (0, 2):
        raise InputError(f"`--sizes {text}`: give auto, or auto:first:last such as auto:2:8192.")
    low, high = [rows(sizes.number(end, str(text))) for end in ends] or [
        PLATEAU if end > PLATEAU else min(2, end),
        end,
    ]
    if low >= high:
        raise InputError(f"`--sizes {text}`: {low} to {high} rows is no range.")
    if budget is None or budget < 4:
        raise InputError(f"`--sizes auto` needs `--budget R`, the number of sizes to train, at least 4; got {budget}.")
    return lambda work: _train_where_it_turns(work, low, high, budget)


def _train_all(work: Sweep, fixed: list[int]) -> None:
    for setting in work.settings:
        work.check(setting, fixed)
    cells = [cell for setting in work.settings for cell in work.cells(setting, fixed)]
    work.train([*cells, *work.best_cells(max(fixed))], _line)


def _train_where_it_turns(work: Sweep, low: int, high: int, budget: int) -> None:
    for setting in work.settings:
        taken: list[int] = []
        while True:
            rows = [row for cell in work.cells(setting, taken) if cell.finished() for row in _table(cell)]
            if not (more := next_sizes(rows, low, high, budget=budget, taken=taken)):
                break
            work.check(setting, more)
            work.train(work.cells(setting, more), _line)
            taken += more
    work.train(work.best_cells(high), _line)


def _table(cell: SweepRun) -> list[dict[str, str]]:
    path = cell.run / "measurements.csv"  # which is missing where every probe is switched off
    return read_table(path) if path.exists() else []


def _line(cell: SweepRun, seconds: float) -> str:
    """What came out of a run: its recovery at the t nearest 0.1."""
    rows = [row for row in _table(cell) if row["metric"] == "recovery" and row["recovery"]]
    if not rows:
        return f"{seconds:.0f} s"
    last = max(int(row["step"]) for row in rows)
    rows = [row for row in rows if int(row["step"]) == last]
    nearest = min(abs(float(row["t"]) - REFERENCE) for row in rows)
    rows = [row for row in rows if abs(float(row["t"]) - REFERENCE) == nearest]
    found = {row["split"]: float(row["recovery"]) for row in rows}
    values = ", ".join(f"{split} {found[split]:.3f}" for split in ("train", "test") if split in found)
    return f"recovery at t = {float(rows[0]['t']):g}: {values} ({seconds:.0f} s)"


def _write(folder: Path) -> None:
    """Puts the tables together, estimates the transition and draws the report."""
    rows = collect(folder)
    transition = estimate(rows, draws_of(folder))
    write_text(folder / "transition.json", json.dumps(transition, indent=2, ensure_ascii=False) + "\n")
    write_report(folder, rows, transition, sequences_of(folder), about(folder), basins_of(folder))
    sys.stdout.write(f"{_summary(transition)}\n{folder / 'report.html'}\n")


def _summary(transition: dict[str, Any]) -> str:
    """The headline of each backbone, then what every method says at the t nearest 0.1, one line each."""
    lines = []
    for name, found in transition["backbones"].items():
        if headline := transition["headline"][name]:
            qualifier = f"; {headline['qualifier']}" if headline["qualifier"] else ""
            lines.append(f"{name}: {NAMES[headline['estimate']]} = {_spelled(headline)} by recovery{qualifier}")
        mine = found["estimates"]
        nearest = min((abs(one["t"] - REFERENCE) for one in mine if one["t"] is not None), default=0.0)
        for one in mine:
            if one["t"] is not None and abs(one["t"] - REFERENCE) > nearest:
                continue
            at = "" if one["t"] is None else f" at t = {one['t']:g}"
            for key, label in NAMES.items():
                said = _spelled(one[key]) if one[key] else f"null ({one['reasons'].get(key, 'see the notes')})"
                lines.append(f"{name}, {one['method']}{at}: {label} = {said}")
    return "\n".join(lines)


def _spelled(size: dict[str, float | None]) -> str:
    low, high = ("unknown" if size[end] is None else f"{size[end]:.3g}" for end in ("low", "high"))
    return f"{size['value']:.3g} rows (95 % interval {low} to {high})"
