"""What a Lightning trainer holds without declaring it, with its types."""

from contextlib import nullcontext
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import TextDataModule


class NullProfiler(PassThroughProfiler):
    """Times nothing, as Lightning's own does, without a generator for each of the 170 actions of a step."""

    @override
    def profile(self, action_name: str) -> Any:
        return _NOTHING


_NOTHING = nullcontext()


def data_of(trainer: Trainer) -> TextDataModule:
    """The data module of a trainer.

    Raises:
        InputError: it has another kind of data module, or none.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, TextDataModule):
        raise InputError(f"Measuring needs a `TextDataModule` or a subclass, got `{type(data).__name__}`.")
    return data


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer, in the order in which they run."""
    attributes: Any = trainer
    return list(attributes.callbacks)


def is_dry_run(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which leaves no files behind."""
    attributes: Any = trainer
    return bool(attributes.fast_dev_run)


def check_precision(precision: object, on_cpu: bool) -> None:
    """Refuses float16 with a scaled loss on a CPU, where Lightning would train in bfloat16 instead.

    Raises:
        InputError: with the way out.
    """
    if on_cpu and str(precision) in ("16", "16-mixed"):
        raise InputError(
            f"`trainer.precision` is {precision}, which a CPU does not have, and Lightning would take bf16-mixed in "
            "its place. Set `--trainer.precision bf16-mixed` or `32-true`, or train on a GPU."
        )


def device_count(devices: object) -> int:
    """How many devices `trainer.devices` asks for; one where it leaves that to Lightning."""
    words = devices if isinstance(devices, list) else str(devices).split(",")
    if len(words) == 1 and not isinstance(devices, list):
        return max(1, int(words[0])) if words[0].strip().lstrip("-").isdigit() else 1
    return len(words)
