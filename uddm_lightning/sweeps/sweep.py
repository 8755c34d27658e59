"""Run a whole sweep: from options to trained runs, tables, the transition and the report."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import csv

from uddm_lightning.config.config_files import find_valid_config
from uddm_lightning.config.keys import flat
from uddm_lightning.config.messages import constructor_error
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.config.trainer_section import check_precision
from uddm_lightning.config.yaml_text import to_yaml
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.data.subset import num_rows
from uddm_lightning.runs.instantiate import build_data, check_critic
from uddm_lightning.sweeps.at_steps import at_steps_options, check_variants
from uddm_lightning.sweeps.board import BOARD, board_folder, link
from uddm_lightning.sweeps.collect import COMMAND, run_folders
from uddm_lightning.sweeps.launchers import Launcher
from uddm_lightning.sweeps.options import split_launcher_options, value_of
from uddm_lightning.sweeps.plan import plan
from uddm_lightning.sweeps.results import write_results
from uddm_lightning.sweeps.run_all import Sweep
from uddm_lightning.sweeps.sizes import AUTO
from uddm_lightning.sweeps.variant import BEST, SET_BY_SWEEP, Variant

LAUNCHERS = {"local": "LocalLauncher", "slurm": "SlurmLauncher"}
SHARED = ("data.train_size", "model.backbone_name", "out")  # those that the options of a sweep may give, too
SIZE = "--data.train_size"  # end of the default sizes

Config = str | Path | Mapping[str, Any]


class SweepResult(NamedTuple):
    """Results of a sweep.

    Attributes:
        folder: of the sweep; it holds the tables, figures and `report.html`.
        transition: content of transition.json; empty if no run has measurements.
        failed: names of the runs that failed. The same sweep trains them again when it is restarted.
    """

    folder: Path
    transition: dict[str, Any]
    failed: tuple[str, ...]

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.folder / "report.html"

    @property
    def runs(self) -> list[Path]:
        """Folders of the runs that have measurements."""
        return run_folders(self.folder)

    def measurements(self) -> pa.Table:
        """Return measurements.csv of all runs with typed columns."""
        return csv.read_csv(self.folder / "measurements.csv")


def sweep(
    config: Config | Sequence[Config],
    out: str | Path,
    sizes: str | Sequence[int | float] | None = None,
    seeds: str | Sequence[int] | None = None,
    backbones: Sequence[str | Path] = (),
    variants: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    jobs: int | None = None,
    launcher: str = "local",
    budget: int | None = None,
    at_steps: str | Sequence[int] | None = None,
    keep_checkpoints: bool = False,
    page_only: bool = False,
    options: Sequence[str] = (),
    **overrides: Any,
) -> SweepResult:
    """Train and measure every backbone at every size with every seed, and write the report, as `uddm sweep` does.

    Finished runs are never repeated: call it again to continue a sweep that was stopped.

    Args:
        config: path of a config, name of a shipped one such as "quickstart", a nested mapping, or several of these,
            where later ones override earlier ones.
        out: folder of the sweep.
        sizes: training rows (int), fractions of the pool (float), or a string as `--sizes` takes it. None is 2 to
            `data.train_size`, each four times the one before.
        seeds: of subsets, weights and noise, or a string as `--seeds` takes it; None takes the config's
            `seed_everything`.
        backbones: paths or names of configs with other backbones, named by their stems in results.
        variants: values of options by the name of a model, such as `{"control": {}, "dropout":
            {"model.backbone.init_args.dropout": 0.1}}`, or strings as `--variant` takes them; instead of `backbones`.
            The model `control`, if there is one, is that with which others are compared.
        jobs: most runs at a time; None runs as many as fit.
        launcher: "local", "slurm" or a class path.
        budget: number of sizes to train with `sizes="auto"`.
        at_steps: optimizer steps to measure at, or a string as `--at-steps` takes it; the last one ends the training.
            Only recovery and entropy at the t nearest to 0.1 and the NELBO are then measured.
        keep_checkpoints: keep the weights at each of these steps.
        page_only: write no figures beside report.html, and no TensorBoard summary.
        options: other options of the command line, such as `["--launcher.partition", "gpu"]`.
        overrides: values of the config by section, such as `trainer={"max_steps": 500}`.

    Raises:
        InputError: an argument, a config or a folder is wrong; the message names it.
        KeyboardInterrupt: the sweep was stopped; the same call continues it.
    """
    out = Path(out).absolute()
    sizes, seeds, at_steps = _listed(sizes), _listed(seeds), _listed(at_steps)
    configs = [config] if isinstance(config, str | Path | Mapping) else config
    files = [_config_file(one, out / f"config-{number}.yaml") for number, one in enumerate(configs)]
    given = [*options, *(word for key, value in flat(overrides) for word in (f"--{key}", _word(value)))]
    for_launcher, for_fit = split_launcher_options(given)
    named_files = [word for file in files for word in ("-c", file)]
    if isinstance(variants, Mapping):
        variants = [f"{name}={json.dumps(options)}" for name, options in variants.items()]
    arguments = fit_arguments(named_files, for_fit, sizes, at_steps, keep_checkpoints, variants)
    check_filled_in(for_fit)
    place = make_launcher(launcher, jobs, for_launcher)
    models = models_of(arguments, backbones, variants) or [Variant.of(arguments, None)]
    config = models[0].config
    every_seed = parse_seeds(seeds, config["seed_everything"])

    place.check_available()
    for variant in models:
        check_critic(variant.config, fetch=True)
        trainer = variant.config["trainer"]
        check_precision(trainer["precision"], place.on_cpu(trainer["accelerator"]))
    data = build_data(config)
    pool = len(data.corpus.train)  # prepares the corpus once, before many runs ask for it
    models = [variant.with_gpu_memory(data.vocab_size) for variant in models]
    has_best = data.markov_chain is not None and BEST not in [variant.name for variant in models]
    best = Variant.best(arguments) if has_best else None
    end, named = config["data"]["train_size"], sizes not in (None, AUTO)
    if value_of(for_fit, SIZE) is None and isinstance(end, int) and end > pool:
        if not named:
            sys.stderr.write(
                f"uddm: sizes end at {pool}, the training rows of the text, not at `data.train_size` = {end}.\n"
            )
        end = pool
    rows_of = partial(num_rows, pool=pool, key="--sizes" if named else "data.train_size")
    train = plan(sizes, budget, end, rows_of)

    work = Sweep(out, models, every_seed, place, best, len(str(pool)))
    named_options = {"--sizes": sizes, "--seeds": seeds, "--budget": budget, "--launcher": launcher, "--jobs": jobs}
    named_options["--at-steps"] = at_steps
    pairs = [(key, str(value)) for key, value in named_options.items() if value not in (None, "local")]
    pairs += [("--backbone", str(file)) for file in backbones] + [("--variant", text) for text in variants]
    words = [word for pair in pairs for word in pair]
    with work.alone():
        words += ["--keep-checkpoints"] * keep_checkpoints + ["--page-only"] * page_only
        line = shlex.join(["uddm", "sweep", *named_files, *for_fit, "--out", out.name, *words, *for_launcher])
        if not (out / COMMAND).exists():  # that of an earlier sweep stays until this one is accepted
            write_text(out / COMMAND, f"{line}\n")
        for variant in models:
            link(out / BOARD / f"transition-{variant.name}", out / "summary" / variant.name)
        if config["trainer"]["logger"] in (None, True):
            folder = board_folder(out)
            board = shlex.join(["tensorboard", "--logdir", str(folder)])
            twice = "" if folder == out else f"; `--logdir {out.name}` would list each run twice"
            sys.stderr.write(f"uddm: to watch the runs: `{board}`, then open http://localhost:6006{twice}\n")
        train(work)
        write_text(out / COMMAND, f"{line}\n")
        transition = write_results(out, page_only) if run_folders(out) else {}
    return SweepResult(out, transition, tuple(outcome.run.name for outcome in work.failed))


def _listed(values: str | Sequence[float] | None) -> str | None:
    """Return values as an option of the command line takes them."""
    return values if isinstance(values, str) or values is None else ",".join(map(str, values))


def _config_file(config: Config, path: Path) -> str:
    """Return the path or name of a config; write one that is given as a mapping to `path`."""
    if not isinstance(config, Mapping):
        return str(config)
    write_text(path, to_yaml(dict(config)))
    return str(path)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def check_filled_in(options: Sequence[str]) -> None:
    """Refuse options of `uddm fit` that the sweep sets for every run.

    Raises:
        InputError: there is one.
    """
    for word in options:
        key = word.partition("=")[0].removeprefix("--")
        if word.startswith("--") and key in SET_BY_SWEEP and key not in SHARED:
            raise InputError(f"`{word}` is set by {SET_BY_SWEEP[key]} for all runs of a sweep; leave it out.")


def fit_arguments(
    files: list[str],
    options: list[str],
    sizes: str | None,
    at_steps: str | None,
    keep_checkpoints: bool,
    variants: Sequence[str] = (),
) -> list[str]:
    """Return the arguments of `uddm fit` that the runs of a sweep share.

    Args:
        files: options that name the configs.
        options: further options of `uddm fit`.
        sizes: `--sizes`.
        at_steps: `--at-steps`.
        keep_checkpoints: `--keep-checkpoints`.
        variants: texts of `--variant`.

    Raises:
        InputError: two options contradict each other, or `at_steps` is wrong.
    """
    largest = value_of(options, SIZE)
    if largest is not None and sizes not in (None, AUTO):
        raise InputError(f"`{SIZE} {largest}` limits the default sizes, but `--sizes` is given; give one of the two.")
    if at_steps is not None:
        check_variants(at_steps, variants)
        return [*files, *at_steps_options(at_steps, keep_checkpoints, files, options), *options]
    if keep_checkpoints:
        raise InputError("`--keep-checkpoints` needs `--at-steps`: it keeps the weights at those steps.")
    return [*files, *options]


def models_of(arguments: list[str], backbones: Sequence[str | Path], changed: Sequence[str]) -> list[Variant]:
    """Return the models of a sweep, one for each backbone or variant; none if no option names any.

    Raises:
        InputError: both are given, names are equal, or a config is wrong.
    """
    if backbones and changed:
        raise InputError("`--backbone` and `--variant` both name the models of a sweep: give one of the two.")
    files = [str(find_valid_config("--backbone", str(name))) for name in backbones]
    models = [Variant.of(arguments, file) for file in files] + [Variant.changed(arguments, text) for text in changed]
    names = [variant.name for variant in models]
    if len(set(names)) < len(names):
        how = "`--variant`: they" if changed else "`--backbone`: the stems of the files"
        raise InputError(f"{how} name the results and must differ, got {names}.")
    return models


def make_launcher(name: str, jobs: int | None, words: Sequence[str]) -> Launcher:
    """Return the launcher of a sweep.

    Args:
        name: local, slurm or a class path.
        jobs: `--jobs`.
        words: its options.

    Raises:
        InputError: there is no such launcher, or an option is wrong.
    """
    parser = UddmParser()
    parser.add_subclass_arguments(Launcher, "launcher", required=True)
    at_a_time = [] if jobs is None else ["--launcher.jobs", str(jobs)]
    try:
        config = parser.parse_args(["--launcher", LAUNCHERS.get(name, name), *at_a_time, *words])
        launcher = parser.instantiate(config).launcher
    except ValueError as error:
        raise constructor_error(error) from error
    assert isinstance(launcher, Launcher)
    return launcher


def parse_seeds(text: str | None, default: int) -> list[int]:
    """Return the seeds of `--seeds`, ascending, without repetition; without it the default alone.

    Raises:
        InputError: the text is no list of integers from 0 on.
    """
    if text is None:
        return [default]
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"`--seeds {text}` is no comma-separated list of integers such as 0,1,2.") from error
    if min(seeds) < 0:
        raise InputError(f"`--seeds {text}`: a seed is at least 0.")
    return sorted(set(seeds))
