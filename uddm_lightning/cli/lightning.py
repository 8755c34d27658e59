"""LightningCLI with this package's classes: what `uddm fit | validate | test | predict` run on."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ProgressBar, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

# importing a room makes its plugins known by their short names
from uddm_lightning import backbones, critics, data, objectives, processes, samplers
from uddm_lightning.callbacks import (
    BasinTable,
    Heartbeat,
    MeasurementTable,
    RestoredText,
    SequenceTable,
    StepProgressBar,
    TensorBoardPage,
    check_callbacks,
    check_monitors,
)
from uddm_lightning.callbacks.measurements import probes
from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Change
from uddm_lightning.config.parser import UddmParser, sanitize_message
from uddm_lightning.config.ranges import LARGEST, check_end, check_numbers, fill_interval
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import filesystem_error, is_disk_full
from uddm_lightning.data import TextDataModule, check_divides
from uddm_lightning.probes import BasinProbe, EntropyProbe, NelboProbe, RecoveryProbe, SampleProbe, TrajectoryProbe
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import NullProfiler, callbacks_of, check_precision, is_dry_run

TERMINATED = 128 + signal.SIGTERM  # exit status, as a shell reports a program that ended by this signal
PLUGINS = (backbones, critics, data, objectives, processes, samplers)

# What Lightning warns of and this program means; everything else stays visible.
EXPECTED_WARNINGS = (
    r".*does not have many workers.*",  # rows are read from memory maps: workers would only cost start-up time
    r".*`IterableDataset` has `__len__` defined.*",  # every rank knows its number of measuring batches
    r".*Checkpoint directory .* exists and is not empty.*",  # a run is continued in its folder
    r".*isinstance.treespec, LeafSpec.. is deprecated.*",  # how Lightning 2.6 asks torch 2.13
    r".*Found \d+ module.s. in eval mode at the start of training.*",  # the averaged weights never train
    r".*The dirpath has changed from.*",  # a checkpoint is measured from wherever it lies
    r".*Couldn't infer the batch indices.*",  # rows carry their own numbers
    r".*The `srun` command is available on your system but is not used.*",  # a login node may train, too
    r".*AMP with fp16 is not supported on CPU.*",  # `check_precision` says so
    r".*It is recommended to use .self.log.*sync_dist=True.*",  # probes have joined the ranks' measurements already
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # the stream is indexed by step
    r"(?s).*Converting a tensor with requires_grad=True to a scalar.*",  # how LBFGS reads the closure's loss
)


class RunConfig(SaveConfigCallback):
    """Writes the run's config.yaml and manifest.json, atomically, when everything that can be refused was looked at.

    Args:
        begin: writes them.
    """

    def __init__(self, *args: Any, begin: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begin = begin

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.begin()


class UddmCLI(LightningCLI):
    """LightningCLI with an output folder, one seed, a thread count and the probes as groups of options."""

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str | None, default=None, help="Folder of the run. Default: runs/<config>-n<size>-s<seed>."
        )
        parser.add_argument(
            "--threads", type=int, default=2, help="CPU threads of a process; part of what makes runs repeat."
        )
        parser.add_argument("--text", type=str | None, default=None, help="Text file whose lines `predict` restores.")
        parser.add_lightning_class_args(RecoveryProbe, "recovery")
        parser.add_lightning_class_args(TrajectoryProbe, "trajectory")  # looks on while samples are drawn: the first
        parser.add_lightning_class_args(EntropyProbe, "entropy")
        parser.add_lightning_class_args(NelboProbe, "nelbo")
        parser.add_lightning_class_args(BasinProbe, "basin")
        parser.add_lightning_class_args(SampleProbe, "samples")
        parser.add_lightning_class_args(MeasurementTable, "table")
        parser.set_defaults({"samples.critic": {"class_path": "NgramCritic"}})
        parser.link_arguments("out", "trainer.default_root_dir")
        parser.link_arguments("text", "data.text")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)
        parser.link_arguments("seed_everything", "model.seed", compute_fn=_seed)
        parser.link_arguments("data.vocab_size", "model.vocab_size", apply_on="instantiate")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as self.held:
            super().__init__(*args, **kwargs)

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        hidden = {"model", "datamodule", "weights_only"}  # checkpoints are always loaded as data only
        return {
            "fit": hidden | {"train_dataloaders", "val_dataloaders"},
            "validate": hidden | {"dataloaders", "verbose"},
            "test": hidden | {"dataloaders", "verbose"},
            "predict": hidden | {"dataloaders", "return_predictions"},
        }

    @override
    def parse_arguments(self, *args: Any) -> None:
        super().parse_arguments(*args)
        if subcommand := self.config.get("subcommand"):
            fill_interval(self.config[subcommand].trainer)

    @override
    def _parse_ckpt_path(self) -> None:
        """Leaves the configuration alone: hyperparameters in a checkpoint must not override it silently."""

    @override
    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        check_numbers(dict(config.items()))
        torch.set_num_threads(config.threads)
        config.out = config.trainer.default_root_dir = self._output_folder(config)
        # what is measured lies in the run of the config, wherever the output goes
        run = Path(config.out) if self.subcommand == "fit" else _run_of(config) or Path(config.out)
        self.checkpoint = checkpoints.resolve(config.ckpt_path, run) if config.ckpt_path else None
        self.changes: list[Change] = []  # keys in which the run of the checkpoint differs from what is asked for
        self.step = 0  # optimizer steps behind the checkpoint
        self.home = run_folder.of_checkpoint(self.checkpoint) if self.checkpoint else Path(config.out)
        if self.checkpoint:
            self._compare(checkpoints.load(self.checkpoint, self.subcommand == "fit"))
        if self.subcommand == "fit":
            check_end(dict(config.items()))
            self._take(run)

    @property
    def goes_on(self) -> bool:
        """Whether `fit` goes on with the run in its folder."""
        folder = Path(self.config[self.subcommand].out)
        return self.checkpoint is not None and self.home.resolve() == folder.resolve()

    def _compare(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to go on with a run, or to measure it, as another one than it is.

        Raises:
            InputError: with key, both values and the way out.
        """
        measuring, here = self.subcommand != "fit", yaml.safe_load(self.dumped())
        self.step = checkpoint["global_step"]
        self.changes = config_keys.changes(run_folder.read_config(self.home), here)
        run_folder.check_same(self.home, self.changes, measuring)
        assert self.checkpoint is not None
        checkpoints.check_same_model(self.checkpoint, checkpoint, here["model"])
        if measuring:
            return
        if 0 < here["trainer"]["max_steps"] < self.step:
            raise InputError(
                f"`trainer.max_steps` is {here['trainer']['max_steps']}, and `--ckpt_path {self.checkpoint}` has "
                f"{self.step} steps behind it already. Give more steps, or start a new run with another `--out`."
            )
        kept = config_keys.recorded(self.changes, measuring)
        if kept and self.goes_on and not run_folder.is_own_config(self.home):
            raise InputError(
                f"`{self.home / 'config.yaml'}` was not written by this program, which therefore does not change it: "
                f"{kept[0]}. Write the new value into it, and leave it out of the command."
            )

    def _take(self, run: Path) -> None:
        """Keeps other programs out of a run's folder, and earlier results safe in it; a dry run writes nothing."""
        if getattr(rank_zero_only, "rank", 0) == 0 and not self.config[self.subcommand].trainer.fast_dev_run:
            self.held.enter_context(run_folder.lock_run(run))
            if not self.goes_on:
                run_folder.check_unused(run, self.dumped())

    def dumped(self) -> str:
        """The resolved configuration, as a run's config.yaml holds it: without the checkpoint at which one begins."""
        config = self.config[self.subcommand].clone()
        config.ckpt_path = None
        text: str = self._parser(self.subcommand).dump(config, skip_none=False)
        return text

    def _begin(self) -> None:
        """Writes config.yaml and manifest.json of a run that begins; of one that goes on, what has changed."""
        folder, data = Path(self.trainer.default_root_dir), self.datamodule
        if self.subcommand == "predict" or (self.subcommand != "fit" and self.model.parameter_count):
            return  # what was trained has a run already
        if not self.goes_on or not run_folder.read_manifest(folder):
            run_folder.write_manifest(folder, {run_folder.NAME: self.model.run_name, **data.manifest()})
        if not self.goes_on or not (folder / "config.yaml").exists():
            run_folder.write_config(folder, self.dumped(), None)
        if not self.goes_on:
            return
        run_folder.settle(folder, data.manifest(), self.model.run_name)
        if changes := config_keys.recorded(self.changes, measuring=False):
            run_folder.write_config(folder, self.dumped(), self.step)
            run_folder.note(folder, "fit", self.step, changes)
        if self.step < self.trainer.max_steps or self.trainer.max_steps < 1:
            run_folder.mark_trained(folder, 0)

    def _output_folder(self, config: Namespace) -> str:
        """Where `--out` says; else the folder of the run whose config this is; else a new one."""
        if any(argument.partition("=")[0] == "--out" for argument in sys.argv):
            return str(config.out)
        stem = Path(str(config.config[-1])).stem if config.config else "run"
        new = Path("runs") / f"{stem}-n{config.data.train_size}-s{config.seed_everything}"
        return str(_run_of(config) or config.out or new)

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, ImportError) as error:
            # constructors check their arguments and name them, and packages that they need and do not find
            raise error if isinstance(error, InputError) else InputError(sanitize_message(str(error))) from error

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config_init, "trainer")
        if self.subcommand == "fit":
            if config["logger"] in (None, True):
                folder = config["default_root_dir"]
                # what an earlier session has logged of the steps that are trained again is not shown
                again = self.step + 1 if self.checkpoint else 0
                kwargs["logger"] = TensorBoardLogger(
                    folder, name="", version="", default_hp_metric=False, purge_step=again
                )
        else:
            kwargs["logger"] = False  # measuring writes the rows of the table and nothing else
        given = _listed(config["callbacks"])
        check_callbacks(given, config["enable_progress_bar"] is not False)
        if heartbeat := Heartbeat.from_environment():  # whoever watches has a bar of its own
            config["enable_progress_bar"] = False
            config["callbacks"] = [*(one for one in given if not isinstance(one, ProgressBar)), heartbeat]
        elif config["enable_progress_bar"] is not False and not any(isinstance(one, ProgressBar) for one in given):
            config["callbacks"] = [*given, StepProgressBar()]
        if not any(isinstance(plugin, CheckpointIO) for plugin in _listed(config["plugins"])):
            config["plugins"] = [*_listed(config["plugins"]), checkpoints.AtomicCheckpointIO()]
        config["profiler"] = config["profiler"] or NullProfiler()
        self.save_config_kwargs["begin"] = self._begin
        return super().instantiate_trainer(**kwargs)

    @override
    def after_instantiate_classes(self) -> None:
        config, trainer = self.config[self.subcommand], self.trainer
        folder = Path(trainer.default_root_dir)
        if self.subcommand == "fit":  # says now what is wrong, before anything is written
            _ = self.datamodule.subset
            precision = self._get(self.config, "trainer")["precision"]
            self.model.check_optimizer(precision)
            check_precision(precision, _on_cpu(trainer))
            check_monitors(trainer, self.model, self.datamodule.splits)
            check_divides(self.datamodule.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
            users = [one for one in callbacks_of(trainer) if not isinstance(one, checkpoints.LastCheckpoint)]
            checkpoints.check_callbacks(users, folder, config.trainer.logger in (None, True, False))
        if self.subcommand in ("fit", "validate", "test"):
            for probe in probes(trainer):
                probe.load()
        if self.checkpoint:
            checkpoints.check_fits(self.checkpoint, self.model, self.subcommand == "fit")
            if self.subcommand != "predict":  # which writes to no run's table
                self._check_data(self.home)
        elif self.model.parameter_count:
            if self.subcommand != "fit":
                raise InputError(f"`uddm {self.subcommand}` needs `--ckpt_path CKPT`: which weights to use.")
            if (folder / "measurements.csv").exists() and not is_dry_run(trainer):
                self._check_data(folder)
        elif self.subcommand == "fit":
            raise InputError(
                f"`model.backbone` is {self.model.backbone_name}, which has nothing to train: measure it with "
                "`uddm validate -c CONFIG --out RUN`, no checkpoint needed."
            )
        elif self.subcommand != "predict":
            self._take(folder)
        if self.subcommand != "predict":
            self.model.run_name = self._run_name()

    def _check_data(self, folder: Path) -> None:
        run_folder.check_same_data(folder, self.datamodule.manifest(), self.changes)

    def _run_name(self) -> str:
        """The run's name in results: the one that it has, if any."""
        data = self.datamodule
        config = {**yaml.safe_load(self.dumped()), "corpus": data.corpus.hash}
        same = self.goes_on if self.subcommand == "fit" else self.checkpoint
        known = run_folder.read_manifest(self.home).get(run_folder.NAME) if same else None
        return known or run_folder.run_name(self.model.backbone_name, data.subset_size, data.seed, config)

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        kwargs.update(ckpt_path=self.checkpoint and str(self.checkpoint), weights_only=True)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the probes print a table of their own
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        return kwargs

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        folder = Path(self.trainer.default_root_dir)
        try:
            with _quiet_writers():
                super()._run_subcommand(subcommand)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} Then {self._way_on()}") from error
        except (KeyboardInterrupt, SystemExit) as stop:  # Lightning makes the former the latter
            terminated = isinstance(stop, SIGTERMException)
            if not terminated and not isinstance(stop.__context__ or stop, KeyboardInterrupt):
                raise
            if self.trainer.is_global_zero:
                sys.stderr.write(f"uddm: stopped: interrupted; {self._way_on()}\n")
            raise SystemExit(TERMINATED if terminated else 1) from stop
        except ImportError as error:  # of a package that some callback of Lightning asks for when it is set up
            raise InputError(sanitize_message(str(error))) from error
        except (DiskFullError, OSError) as error:
            if isinstance(error, OSError) and not is_disk_full(error):
                raise
            # TensorBoard's writer names no file
            what = (
                error
                if isinstance(error, DiskFullError)
                else filesystem_error(f"Cannot write to `{folder}`", error, "")
            )
            raise DiskFullError(f"{what} Free some space, then {self._way_on()}") from error
        except RuntimeError as error:
            if "conditioned on metric" not in str(error):  # of EarlyStopping, see `check_monitors`
                raise
            raise InputError(f"`trainer.callbacks`: {sanitize_message(str(error))}") from error

    def _way_on(self) -> str:
        if self.subcommand == "fit":
            return run_folder.resume_hint(Path(self.trainer.default_root_dir))
        return "give the same command again."

    def after_fit(self) -> None:
        """Marks the run as finished in its manifest if its last step is trained, measured and saved; says so if not."""
        trainer, folder = self.trainer, Path(self.trainer.default_root_dir)
        step = trainer.global_step
        own = (one.saved_step for one in callbacks_of(trainer) if isinstance(one, checkpoints.LastCheckpoint))
        saved = next(own, 0)
        last = run_folder.checkpoint(folder, "last")
        if not saved and self.checkpoint and self.checkpoint.resolve() == last.resolve():
            saved = self.step
        if is_dry_run(trainer):
            return
        if saved != step:
            if trainer.is_global_zero:
                sys.stderr.write(
                    f"uddm: training ended at step {step}, and the last checkpoint is of step {saved}: "
                    f"{run_folder.resume_hint(folder)}\n"
                )
        elif step >= trainer.max_steps > 0:
            self._mark(step)
        elif trainer.should_stop:
            reason = _why_stopped(trainer)
            if run_folder.trained_steps(folder) != step or not run_folder.stopped_early(folder):
                trainer.loggers = []  # this step is logged already
                # it was measured as one on the way, with fewer rows
                trainer.validate(self.model, self.datamodule, str(last), verbose=False, weights_only=True)
            self._mark(step, reason)
            if trainer.is_global_zero:
                sys.stderr.write(f"uddm: stopped early at step {step}: {reason}\n")

    def after_validate(self) -> None:
        """Marks the run of an oracle as finished: it is as good as it will be. Of others, notes what was asked for."""
        if not self.model.parameter_count:
            self._mark(max(0, self.trainer.max_steps))
        elif self.trainer.is_global_zero and not is_dry_run(self.trainer) and run_folder.read_manifest(self.home):
            changes = config_keys.recorded(self.changes, measuring=True)
            run_folder.note(self.home, str(self.subcommand), self.step, changes)

    def after_test(self) -> None:
        """As after `validate`."""
        if self.model.parameter_count:
            self.after_validate()

    def _mark(self, steps: int, stopped: str = "") -> None:
        if self.trainer.is_global_zero and not is_dry_run(self.trainer):
            run_folder.mark_trained(Path(self.trainer.default_root_dir), steps, stopped)


@contextmanager
def _quiet_writers() -> Iterator[None]:
    """TensorBoard writes in a thread, and hands a full disk's error to this one: it need not be reported twice."""
    report = threading.excepthook
    threading.excepthook = lambda hook: None if is_disk_full(hook.exc_value) else report(hook)
    try:
        yield
    finally:
        threading.excepthook = report


def _run_of(config: Namespace) -> Path | None:
    """The folder in which the given config lies beside a manifest, wherever that was moved to."""
    given = Path(str(config.config[-1])) if config.config else Path()
    return given.parent if given.name == "config.yaml" and (given.parent / "manifest.json").exists() else None


def _why_stopped(trainer: Trainer) -> str:
    """Which callback has asked for the end, in its own words if it has any."""
    for callback in trainer.early_stopping_callbacks:
        if callback.stopping_reason_message:
            return f"EarlyStopping: {callback.stopping_reason_message.removesuffix(' Signaling Trainer to stop.')}"
    timers = [callback for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    spent = [timer for timer in timers if (timer.time_remaining() or 1.0) <= 0.0]
    return "Timer: its time is over" if spent else "a callback has asked for it"


def _on_cpu(trainer: Trainer) -> bool:
    return isinstance(trainer.accelerator, CPUAccelerator)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _seed(seed: bool | int) -> int:
    if isinstance(seed, bool) or not 0 <= seed <= LARGEST:
        raise ValueError(f"`seed_everything` must be an integer from 0 to {LARGEST}, got {seed}.")
    return seed


def run_lightning() -> None:
    """Runs `uddm fit | validate | test | predict` on the arguments of this process."""
    start(UddmCLI)


def start(kind: type[UddmCLI]) -> UddmCLI:
    """Runs a kind of command line on the arguments of this process."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning 2.6 calls it by names of before 4.49
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # plugins lie where one works; last, so that they hide nothing that is installed
    # Lightning's tips for other products would stand between the user and the results
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip:" not in record.getMessage()
    )
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)  # each message has its reason where it stands
    return kind(
        DiffusionTask,
        TextDataModule,
        save_config_callback=RunConfig,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=True,
        parser_class=UddmParser,
        trainer_defaults={
            "max_epochs": -1,  # the stream is endless and indexed by step: there are no epochs
            "check_val_every_n_epoch": None,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "log_every_n_steps": 10,
            "callbacks": [
                SequenceTable(),
                BasinTable(),
                TensorBoardPage(),
                RestoredText(),
                checkpoints.LastCheckpoint(),
            ],
        },
    )
