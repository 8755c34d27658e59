"""Checks of the callbacks that a user adds."""

import difflib
from collections.abc import Sequence

from lightning.pytorch import Callback, Trainer, callbacks
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar

from uddm_lightning.callbacks.tensorboard import names_of_scalars
from uddm_lightning.core.errors import InputError
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of

NO_EPOCHS = "it acts at the beginning of an epoch, and the stream of training rows has none"

# Class (with its subclasses), the reason why it cannot work, and the alternative.
REFUSED: dict[type[Callback], str] = {
    callbacks.BackboneFinetuning: f"{NO_EPOCHS}; a subclass of BaseFinetuning may freeze from the start",
    callbacks.BatchSizeFinder: "the batch of every step follows from `data.batch_size`; set it there",
    callbacks.GradientAccumulationScheduler: f"{NO_EPOCHS}; set `trainer.accumulate_grad_batches`",
    callbacks.LearningRateFinder: "it trains and restores weights before the run begins; compare runs with other "
    "values of `model.optimizer.init_args.lr`",
    callbacks.ModelPruning: "it puts other parameters in the place of those that are averaged and saved; prune the "
    "exported weights",
    callbacks.OnExceptionCheckpoint: "at the next start, Lightning would go on from its file without being asked; the "
    "run's own last checkpoint stands after any error",
    callbacks.StochasticWeightAveraging: f"{NO_EPOCHS}; `model.ema_decay` keeps a moving average of the weights",
    callbacks.WeightAveraging: "at each measurement it puts its average in the place of the raw weights, which results "
    "would then call raw; `model.ema_decay` keeps a moving average of the weights",
}
# These alone, not their subclasses.
ABSTRACT: tuple[type[Callback], ...] = (callbacks.BaseFinetuning, callbacks.BasePredictionWriter, ProgressBar)


def check_callbacks(given: Sequence[Callback], bar: bool) -> None:
    """Refuse callbacks that would end a run with an error, change the meaning of its results, or do nothing.

    Args:
        given: callbacks of the config.
        bar: whether progress bars are wanted.

    Raises:
        InputError: with the callback's name, the reason and the way out.
    """
    for callback in given:
        kind = type(callback)
        name = f"`trainer.callbacks`: {kind.__name__}"
        if kind in ABSTRACT:
            raise InputError(f"{name} is a base class and does nothing; name a subclass.")
        for refused, reason in REFUSED.items():
            if isinstance(callback, refused):
                raise InputError(f"{name} cannot be used here: {reason}.")
    bars = [type(callback).__name__ for callback in given if isinstance(callback, ProgressBar)]
    if len(bars) > 1:
        raise InputError(f"`trainer.callbacks` has several progress bars, {' and '.join(bars)}; leave one.")
    if bars and not bar:
        raise InputError(
            f"`trainer.enable_progress_bar` is false and `trainer.callbacks` has {bars[0]}; leave one of them out."
        )


def check_monitors(trainer: Trainer, task: DiffusionTask, splits: Sequence[str]) -> None:
    """Refuse to monitor a value that validations during training do not log.

    Callbacks and tasks from outside of the package may log values of their own; then nothing is refused.

    Raises:
        InputError: with callback and value, and the values that there are.
    """
    known = all(type(one).__module__.split(".")[0] in ("uddm_lightning", "lightning") for one in callbacks_of(trainer))
    if not known or type(task) is not DiffusionTask:
        return
    names = {"loss/train", "epoch", "step", *names_of_scalars(trainer, task, splits)}
    for callback in callbacks_of(trainer):
        if not isinstance(callback, EarlyStopping | ModelCheckpoint):
            continue
        wanted = callback.monitor
        if wanted is None or wanted in names or wanted.startswith("lr-"):
            continue
        near = difflib.get_close_matches(wanted, names, 3, 0.3) or sorted(names)
        raise InputError(
            f"`trainer.callbacks`: {type(callback).__name__} watches `{wanted}`, which is not measured at every "
            f"validation. There are {', '.join(f'`{name}`' for name in near)}."
        )
