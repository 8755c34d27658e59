"""The folder of a run during one command: checks what the command may do with the run, and records it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Change
from uddm_lightning.core.devices import machine_name
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import TextDataModule
from uddm_lightning.runs import checkpoints, manifest
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import is_dry_run

FILES = (".ckpt", ".csv", ".html", ".json", ".parquet", ".yaml")  # of files of a run, which are no folders


class RunSession:
    """Checks that a command fits the run in a folder, and records in the folder what the command does.

    Args:
        command: fit, validate, test or predict.
        config: the resolved configuration, with the output folder under `out`.
        dump: returns the configuration as a run's config.yaml holds it.
        locks: holds the locks of the folder until the command ends.

    Attributes:
        folder: of the output.
        checkpoint: file that `--ckpt_path` names; None without it.
        home: folder of the run to which the checkpoint belongs; the output folder without a checkpoint.
        step: optimizer steps of the checkpoint; 0 without it.
        changes: keys in which the run of the checkpoint differs from the configuration.

    Raises:
        InputError: the checkpoint cannot be read, belongs to another run or model, or another process uses the folder.
    """

    def __init__(self, command: str, config: Namespace, dump: Callable[[], str], locks: ExitStack) -> None:
        self.command = command
        self.dump = dump
        self.folder = Path(config.out)
        self.step = 0
        self.changes: list[Change] = []
        self._locks = locks
        self._is_dry_run = bool(config.trainer.fast_dev_run)
        # a measured run is the one of the config, wherever the output goes
        run = self.folder if self.is_training else folder_of_config(config) or self.folder
        self.checkpoint = checkpoints.resolve(config.ckpt_path, run) if config.ckpt_path else None
        self.home = manifest.find_run_folder(self.checkpoint) if self.checkpoint else self.folder
        if self.checkpoint:
            self._compare(self.checkpoint)

    @property
    def is_training(self) -> bool:
        """Whether the command is `fit`."""
        return self.command == "fit"

    @property
    def is_resuming(self) -> bool:
        """Whether the checkpoint belongs to the run in the output folder."""
        return self.checkpoint is not None and self.home.resolve() == self.folder.resolve()

    @property
    def hint(self) -> str:
        """How to continue after the command was stopped."""
        return run_folder.resume_hint(self.folder) if self.is_training else "give the same command again."

    def _compare(self, path: Path) -> None:
        """Refuse a run or a model that differs from the configuration in a key that decides what it is."""
        checkpoint, config = checkpoints.load(path, self.is_training), yaml.safe_load(self.dump())
        self.step = checkpoint["global_step"]
        self.changes = config_keys.changes(run_folder.read_config(self.home), config)
        run_folder.check_same_run(self.home, self.changes, not self.is_training)
        checkpoints.check_same_model(path, checkpoint, config["model"])
        if not self.is_training:
            return
        if 0 < config["trainer"]["max_steps"] < self.step:
            raise InputError(
                f"`trainer.max_steps` is {config['trainer']['max_steps']}, and `--ckpt_path {path}` has trained "
                f"{self.step} steps already. Give more steps, or start a new run with another `--out`."
            )
        kept = config_keys.recorded(self.changes, measuring=False)
        if kept and self.is_resuming and not run_folder.is_own_config(self.home):
            raise InputError(
                f"`{self.home / 'config.yaml'}` was not written by this program, which therefore does not change it: "
                f"{kept[0]}. Write the new value into it, and leave it out of the command."
            )

    def check_output(self) -> None:
        """Check that a folder given with `--out` is used.

        Raises:
            InputError: a checkpoint is measured, which writes into the run of the checkpoint.
        """
        if self.command in ("validate", "test") and self.checkpoint and not self.is_resuming:
            raise InputError(
                f"`--out {self.folder}`: `uddm {self.command}` writes the numbers of a checkpoint into its run, "
                f"`{self.home}`. Leave `--out` out; to keep the present numbers, copy that folder first and measure "
                "the copy."
            )

    def lock(self) -> None:
        """Lock the output folder and check that it holds no results of another run; a dry run does neither.

        Raises:
            InputError: another process trains there, or the folder holds results.
        """
        if getattr(rank_zero_only, "rank", 0) == 0 and not self._is_dry_run:
            self._locks.enter_context(run_folder.lock_run(self.folder))
            if not self.is_resuming:
                run_folder.check_unused(self.folder, self.dump())

    def check_data(self, model: DiffusionTask, data: TextDataModule) -> None:
        """Check that there is something to do with the model, and that the run's data are unchanged.

        Raises:
            InputError: with the way out.
        """
        if self.checkpoint:
            if self.command != "predict":  # which writes to no run's table
                run_folder.check_same_data(self.home, data.manifest(), self.changes)
        elif model.parameter_count:
            if not self.is_training:
                raise InputError(f"`uddm {self.command}` needs `--ckpt_path CKPT`: which weights to use.")
            if (self.folder / "measurements.csv").exists() and not self._is_dry_run:
                run_folder.check_same_data(self.folder, data.manifest(), self.changes)
        elif self.is_training:
            raise InputError(
                f"`model.backbone` is {model.backbone_name}, which has nothing to train: measure it with "
                "`uddm validate -c CONFIG --out RUN`, no checkpoint needed."
            )
        elif self.command != "predict":
            self.lock()

    def run_name(self, model: DiffusionTask, data: TextDataModule) -> str:
        """Return the name of the run in results: the recorded one, or a new one."""
        config = {**yaml.safe_load(self.dump()), "corpus": data.corpus.hash}
        same = self.is_resuming if self.is_training else self.checkpoint
        known = manifest.read_manifest(self.home).get(manifest.NAME) if same else None
        return known or run_folder.run_name(model.backbone_name, data.subset_size, data.seed, config)

    def begin(self, trainer: Trainer, model: DiffusionTask, data: TextDataModule) -> None:
        """Write config.yaml and manifest.json of a new run; of a resumed one, record the changed keys."""
        if self.command == "predict" or (not self.is_training and model.parameter_count):
            return  # a trained model has a run already
        folder = self.folder
        if not self.is_resuming or not manifest.read_manifest(folder):
            on_cuda = trainer.strategy.root_device.type == "cuda"
            precision = {manifest.FLOAT32_PRODUCTS: torch.get_float32_matmul_precision()} if on_cuda else {}
            manifest.write_manifest(folder, {manifest.NAME: model.run_name, **data.manifest(), **precision})
        if not self.is_resuming or not (folder / "config.yaml").exists():
            run_folder.write_config(folder, self.dump(), None)
        if not self.is_resuming:
            return
        manifest.complete_manifest(folder, data.manifest(), model.run_name)
        if changes := config_keys.recorded(self.changes, measuring=False):
            run_folder.write_config(folder, self.dump(), self.step)
            manifest.record_changes(folder, "fit", self.step, changes)
        if self.step < trainer.max_steps or trainer.max_steps < 1:
            manifest.mark_trained(folder, 0)

    def mark_trained(self, trainer: Trainer, steps: int, reason: str = "") -> None:
        """Record in the manifest that the run is finished after `steps` steps, and why if it stopped early."""
        if trainer.is_global_zero and not is_dry_run(trainer):
            manifest.mark_trained(self.folder, steps, reason)

    def record_time(self, trainer: Trainer, seconds: float) -> None:
        """Record in the manifest of a run the machine and the wall time of this session, if it trained."""
        trained = self.is_training and trainer.global_step > self.step
        if trained and trainer.is_global_zero and not is_dry_run(trainer):
            machine = machine_name(trainer.strategy.root_device, trainer.world_size)
            manifest.record_time(self.folder, machine, seconds)

    def stopped_at(self, step: int) -> bool:
        """Return whether the manifest records that the run stopped early after `step` steps."""
        return manifest.trained_steps(self.folder) == step and bool(manifest.stopped_early(self.folder))

    def record_measurement(self, trainer: Trainer) -> None:
        """Record in the manifest of a measured run the keys that had other values."""
        if trainer.is_global_zero and not is_dry_run(trainer) and manifest.read_manifest(self.home):
            changes = config_keys.recorded(self.changes, measuring=True)
            manifest.record_changes(self.home, self.command, self.step, changes)


def output_folder(config: Namespace, arguments: list[str]) -> str:
    """Return the value of `--out`; without it, the folder of the run whose config this is, or a new one in `runs`.

    Raises:
        InputError: `--out` has the name of a file.
    """
    if names_output(arguments):
        if Path(config.out).suffix in FILES:
            raise InputError(f"`--out {config.out}` names a file; give a folder, in which the run keeps its files.")
        return str(Path(config.out).expanduser())
    stem = Path(str(config.config[-1])).stem if config.config else "run"
    new = Path("runs") / f"{stem}-n{config.data.train_size}-s{config.seed_everything}"
    return str(folder_of_config(config) or config.out or new)


def names_output(arguments: list[str]) -> bool:
    """Return whether the command line gives `--out`."""
    return any(argument.partition("=")[0] == "--out" for argument in arguments)


def folder_of_config(config: Namespace) -> Path | None:
    """Return the folder of the given config.yaml if a manifest lies beside it, else None."""
    given = Path(str(config.config[-1])) if config.config else Path()
    return given.parent if given.name == "config.yaml" and (given.parent / "manifest.json").exists() else None
