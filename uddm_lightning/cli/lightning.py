"""LightningCLI with this package's classes: `uddm fit`, `validate`, `test` and `predict`."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from typing_extensions import override

from uddm_lightning import probes
from uddm_lightning.callbacks import Heartbeat, MeasurementTable, check_monitors
from uddm_lightning.callbacks.ending import ending_lines
from uddm_lightning.callbacks.measurements import probes as probes_of
from uddm_lightning.cli.stopping import report_stop, stop_reason
from uddm_lightning.cli.trainer_options import EXPECTED_WARNINGS, check_end, complete, make_logger, trainer_defaults
from uddm_lightning.config.messages import constructor_error
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.config.ranges import LARGEST, check_numbers, fill_interval
from uddm_lightning.config.trainer_section import check_precision
from uddm_lightning.core.console import say
from uddm_lightning.core.devices import use_tensor_cores
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.progress import silence_progress
from uddm_lightning.data import TextDataModule
from uddm_lightning.data.micro_batches import check_batch_size
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.session import RunSession, names_output, output_folder
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, is_dry_run

# The defaults of `DiffusionTask` as values that a config can hold.
MODEL_DEFAULTS = {
    "model.process": {
        "class_path": "UniformProcess",
        "init_args": {"schedule": {"class_path": "LogLinearSchedule"}},
    },
    "model.backbone": {"class_path": "DiT"},
    "model.objective": {"class_path": "NELBO"},
    "model.sampler": {"class_path": "AncestralSampler"},
    "model.optimizer": {"class_path": "torch.optim.AdamW"},
    "model.lr_schedule": {"class_path": "WarmupConstant"},
}
# Sections of the probes, in the order in which they run.
PROBES = {
    "recovery": probes.RecoveryProbe,
    "trajectory": probes.TrajectoryProbe,  # observes how samples are drawn: before others
    "entropy": probes.EntropyProbe,
    "nelbo": probes.NelboProbe,
    "basin": probes.BasinProbe,
    "samples": probes.SampleProbe,
}
for _package in ("backbones", "critics", "data", "objectives", "processes", "samplers"):
    import_module(f"uddm_lightning.{_package}")  # registers its plugins by their short names


class RunConfig(SaveConfigCallback):
    """Writes the run's config.yaml and manifest.json, atomically, after every check has passed.

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
    """LightningCLI with an output folder, one seed, a thread count and the probes as groups of options.

    Args:
        *args: of LightningCLI.
        **kwargs: of LightningCLI; `args` holds the arguments of `uddm`, the subcommand first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arguments: list[str] = kwargs["args"]
        with ExitStack() as self.contexts:
            super().__init__(*args, **kwargs)

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str | None, default=None, help="Folder of the run. Default: runs/<config>-n<size>-s<seed>."
        )
        parser.add_argument(
            "--threads", type=int, default=2, help="CPU threads of a process; results repeat only with the same number."
        )
        parser.add_argument("--text", type=str | None, default=None, help="Text file whose lines `predict` restores.")
        for section, probe in PROBES.items():
            parser.add_lightning_class_args(probe, section)
        parser.add_argument(
            "--probes",
            type=list[probes.Probe],
            default=[],
            help="Further probes, by class path. On the command line: `--probes+ my_module.MyProbe`.",
        )
        parser.add_lightning_class_args(MeasurementTable, "table")
        parser.set_defaults({"samples.critic": {"class_path": "NgramCritic"}, **MODEL_DEFAULTS})
        parser.link_arguments("out", "trainer.default_root_dir")
        parser.link_arguments("text", "data.text")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_check_seed)
        parser.link_arguments("seed_everything", "model.seed", compute_fn=_check_seed)
        parser.link_arguments("data.vocab_size", "model.vocab_size", apply_on="instantiate")

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
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Leave the parsers of the other subcommands empty: building one takes a fifth of a second."""
        if subcommand != self.arguments[0]:
            return self.init_parser(**kwargs)
        return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)  # LightningCLI's own warns if the process has arguments of its own
        if subcommand := self.config.get("subcommand"):
            fill_interval(self.config[subcommand].trainer)

    @override
    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: hyperparameters in a checkpoint must not override it silently."""

    @override
    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        check_numbers(dict(config.items()))
        torch.set_num_threads(config.threads)
        if config.trainer.enable_progress_bar is False:
            self.contexts.enter_context(silence_progress())
        config.out = config.trainer.default_root_dir = output_folder(config, self.arguments)
        self.session = RunSession(str(self.subcommand), config, cache(self.dumped), self.contexts)  # it changes no more
        if names_output(self.arguments):
            self.session.check_output()
        if self.session.is_training:
            check_end(dict(config.items()))
            self.session.lock()

    def dumped(self) -> str:
        """Return the resolved configuration, as a run's config.yaml holds it: without `ckpt_path`."""
        config = self.config[self.subcommand].clone()
        config.ckpt_path = None
        # the values are checked already; dumping would check those of each plugin once more
        text: str = self._parser(self.subcommand).dump(config, skip_none=False, skip_check=True)
        return text

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, ImportError) as error:
            # constructors check their arguments and name them, or miss a package
            raise constructor_error(error) from error

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config, session = self._get(self.config_init, "trainer"), self.session
        if not session.is_training:
            kwargs["logger"] = False  # measuring writes the rows of the table and nothing else
        elif logger := make_logger(config, session.step + 1 if session.checkpoint else 0):
            kwargs["logger"] = logger
        complete(config)
        # behind the probes of the package, whose notes they may read, and before the callbacks that write tables
        further = self._get(self.config_init, "probes")
        self.trainer_defaults["callbacks"] = [*further, *self.trainer_defaults["callbacks"]]
        self.save_config_kwargs["begin"] = lambda: session.begin(self.trainer, self.model, self.datamodule)
        return super().instantiate_trainer(**kwargs)

    @override
    def after_instantiate_classes(self) -> None:
        config, trainer, session = self.config[self.subcommand], self.trainer, self.session
        use_tensor_cores(trainer.strategy.root_device)
        if session.is_training:  # report what is wrong before anything is written
            _ = self.datamodule.subset
            precision = self._get(self.config, "trainer")["precision"]
            self.model.check_optimizer(precision)
            check_precision(precision, isinstance(trainer.accelerator, CPUAccelerator))
            check_monitors(trainer, self.model, self.datamodule.splits)
            check_batch_size(self.datamodule.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
            users = [one for one in callbacks_of(trainer) if not isinstance(one, checkpoints.LastCheckpoint)]
            checkpoints.check_checkpoint_callbacks(users, session.folder, config.trainer.logger in (None, True, False))
        if session.command != "predict":
            for probe in probes_of(trainer):
                probe.load()
        if session.checkpoint:
            checkpoints.check_fits(session.checkpoint, self.model, session.is_training)
        session.check_data(self.model, self.datamodule)
        if session.command != "predict":
            self.model.run_name = session.run_name(self.model, self.datamodule)

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        checkpoint = self.session.checkpoint
        kwargs.update(ckpt_path=checkpoint and str(checkpoint), weights_only=True)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the probes print a table of their own
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        return kwargs

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        started = time.monotonic()
        try:
            with report_stop(self.trainer, self.session):
                super()._run_subcommand(subcommand)
        finally:
            with suppress(OSError, InputError, DiskFullError):  # which would hide why the command has ended
                self.session.record_time(self.trainer, time.monotonic() - started)

    def after_fit(self) -> None:
        """Record that the run is finished if its last step is trained, measured and saved; else say what is missing."""
        trainer, session = self.trainer, self.session
        step, last = trainer.global_step, run_folder.checkpoint_path(session.folder, "last")
        own = (one.saved_step for one in callbacks_of(trainer) if isinstance(one, checkpoints.LastCheckpoint))
        saved = next(own, 0)
        if not saved and session.checkpoint and session.checkpoint.resolve() == last.resolve():
            saved = session.step
        if is_dry_run(trainer):
            return
        if saved != step:
            if trainer.is_global_zero:
                sys.stderr.write(
                    f"uddm: training ended at step {step}, and the last checkpoint is of step {saved}: {session.hint}\n"
                )
            return
        if step >= trainer.max_steps > 0:
            session.mark_trained(trainer, step)
        elif trainer.should_stop:
            reason = stop_reason(trainer)
            if not session.stopped_at(step):
                trainer.loggers = []  # this step is logged already
                # it was measured as an intermediate step, with fewer rows
                trainer.validate(self.model, self.datamodule, str(last), verbose=False, weights_only=True)
            session.mark_trained(trainer, step, reason)
            if trainer.is_global_zero:
                sys.stderr.write(f"uddm: stopped early at step {step}: {reason}\n")
        if trainer.is_global_zero and Heartbeat.from_environment() is None:  # a sweep judges its runs together
            say("\n".join(ending_lines(session.folder)))

    def after_validate(self) -> None:
        """Mark the run of an oracle as finished, since it is not trained; record the changed keys of other runs."""
        if not self.model.parameter_count:
            self.session.mark_trained(self.trainer, max(0, self.trainer.max_steps))
        else:
            self.session.record_measurement(self.trainer)

    def after_test(self) -> None:
        """Record the changed keys, as `after_validate` does."""
        if self.model.parameter_count:
            self.after_validate()


def _check_seed(seed: bool | int) -> int:
    if isinstance(seed, bool) or not 0 <= seed <= LARGEST:
        raise ValueError(f"`seed_everything` must be an integer from 0 to {LARGEST}, got {seed}.")
    return seed


def run_lightning(arguments: list[str], kind: type[UddmCLI] = UddmCLI) -> UddmCLI:
    """Run `uddm fit`, `validate`, `test` or `predict`.

    Args:
        arguments: the subcommand and its options.
        kind: class of the command line.

    Returns:
        The command line after the subcommand has ended, with its trainer, model and data module.
    """
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning 2.6 uses names from before 4.49
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # plugins in the working folder; last, so that they hide no installed package
    # Lightning's tips for other products would stand between the user and the results; that the last step was reached
    # is no news, and the message would continue the line of the bar
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(part in record.getMessage() for part in ("Tip:", "stopped: `max_steps="))
    )
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)  # each message has its reason where it stands
    return kind(
        DiffusionTask,
        TextDataModule,
        args=arguments,
        save_config_callback=RunConfig,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=True,
        parser_class=UddmParser,
        trainer_defaults=trainer_defaults(),
    )
