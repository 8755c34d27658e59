"""Options of Lightning's trainer that `uddm fit | validate | test | predict` set in addition to the user's."""

from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from uddm_lightning import callbacks
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import shows_bars
from uddm_lightning.data.micro_batches import check_interval
from uddm_lightning.runs import checkpoints
from uddm_lightning.training.trainer_access import NullProfiler

# Warnings of Lightning about behaviour that this program intends; all others stay visible.
EXPECTED_WARNINGS = (
    r".*does not have many workers.*",  # rows are read from memory maps: workers would only cost start-up time
    r".*`IterableDataset` has `__len__` defined.*",  # every rank knows its number of measuring batches
    r".*Checkpoint directory .* exists and is not empty.*",  # a run is continued in its folder
    r".*isinstance.treespec, LeafSpec.. is deprecated.*",  # how Lightning 2.6 asks torch 2.13
    r".*Found \d+ module.s. in eval mode at the start of training.*",  # the averaged weights never train
    r".*The dirpath has changed from.*",  # a checkpoint in any folder may be measured
    r".*Couldn't infer the batch indices.*",  # rows carry their own numbers
    r".*The `srun` command is available on your system but is not used.*",  # a login node may train, too
    r".*AMP with fp16 is not supported on CPU.*",  # `check_precision` refuses it
    r".*It is recommended to use .self.log.*sync_dist=True.*",  # probes have joined the ranks' measurements already
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # the stream is indexed by step
    r"(?s).*Converting a tensor with requires_grad=True to a scalar.*",  # how LBFGS reads the closure's loss
)


def trainer_defaults() -> dict[str, Any]:
    """Return the defaults of the trainer where they differ from Lightning's."""
    return {
        "max_epochs": -1,  # the stream is endless and indexed by step: there are no epochs
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 10,
        "callbacks": [
            callbacks.SequenceTable(),
            callbacks.BasinTable(),
            callbacks.TensorBoardPage(),
            callbacks.RestoredText(),
            checkpoints.LastCheckpoint(),
        ],
    }


def check_end(config: Mapping[str, Any]) -> None:
    """Check that training ends with a measurement and a checkpoint.

    Args:
        config: of `uddm fit`, values by dotted key.

    Raises:
        InputError: with key and value.
    """
    steps, interval, accumulation = (
        config[f"trainer.{name}"] for name in ("max_steps", "val_check_interval", "accumulate_grad_batches")
    )
    if config.get("trainer.fast_dev_run"):
        return
    if interval is None:
        raise InputError(
            f"`trainer.val_check_interval` is null and `trainer.max_steps` {steps}: the run would never be measured or "
            "saved. Set one of them."
        )
    check_interval(interval, accumulation)
    if steps > 0 and (end := steps * accumulation) % interval:
        raise InputError(
            f"`trainer.max_steps` is {steps} ({end} micro-batches), no multiple of `trainer.val_check_interval` "
            f"{interval}: the final weights would go unmeasured and unsaved."
        )


def make_logger(config: dict[str, Any], first_step: int) -> TensorBoardLogger | None:
    """Return the logger of `fit` in the run's folder; None if the config has one of its own.

    Args:
        config: of the trainer.
        first_step: events of an earlier session from this step on are not shown, since the steps are trained again.
    """
    if config["logger"] not in (None, True):
        return None
    folder = config["default_root_dir"]
    return TensorBoardLogger(folder, name="", version="", default_hp_metric=False, purge_step=first_step)


def complete(config: dict[str, Any]) -> None:
    """Add the progress bar or heartbeat, the checkpoint writer and the profiler to a trainer's config, in place.

    Raises:
        InputError: a callback of the user cannot work here.
    """
    given = as_list(config["callbacks"])
    callbacks.check_callbacks(given, config["enable_progress_bar"] is not False)
    if heartbeat := callbacks.Heartbeat.from_environment():  # the program that watches shows the progress
        config["enable_progress_bar"] = False
        config["callbacks"] = [*(one for one in given if not isinstance(one, ProgressBar)), heartbeat]
    elif config["enable_progress_bar"] is not False and not any(isinstance(one, ProgressBar) for one in given):
        config["callbacks"] = [*given, callbacks.StepProgressBar() if shows_bars() else callbacks.StepProgressLines()]
    if not any(isinstance(plugin, CheckpointIO) for plugin in as_list(config["plugins"])):
        config["plugins"] = [*as_list(config["plugins"]), checkpoints.AtomicCheckpointIO()]
    config["profiler"] = config["profiler"] or NullProfiler()


def as_list(value: Any) -> list[Any]:
    """Return a list of the values of an option that takes one value, a list, or None."""
    return value if isinstance(value, list) else [] if value is None else [value]
