"""Networks of `transformers`, read from a folder in the layout of the hub without running its code."""

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from uddm_lightning.backbones import Backbone
from uddm_lightning.core.errors import InputError, first_line, require_package, sanitize_message
from uddm_lightning.interop.kept_folders import keep_folder
from uddm_lightning.interop.probe_needs import WORK_BYTES, free_memory

EXTRA = "hub"  # of this package, which installs `transformers`
OLDEST = "5.24"  # release of `transformers` that the tests run with
SHOWN = 3  # missing weights that a message names


class PretrainedBackbone(Backbone):
    """Base class of networks of `transformers`, in the dtype of their file. They are measured and not trained.

    The network is no submodule, and copies of the backbone share it: a moving average would copy its weights and a
    measurement would convert them to float64, which need not fit into memory.

    Args:
        vocab_size: number of ids in noisy text.
        path: folder with `config.json` and safetensors.
        device: of the weights; "auto" lets `transformers` distribute them over GPUs, memory and, last, the disk, from
            which they are read at each evaluation.
        trust_remote_code: run the code of the folder that `auto_map` names.

    Attributes:
        auto_class: class of `transformers` that loads the network.

    Raises:
        InputError: `transformers` is missing or too old, or the folder holds no complete network of this class.
    """

    auto_class: ClassVar[str]
    trainable: ClassVar[bool] = False

    def __init__(self, vocab_size: int, path: str, device: str = "cpu", trust_remote_code: bool = False) -> None:
        super().__init__(vocab_size)
        self._held = (load_network(self.auto_class, Path(path), device, trust_remote_code),)

    @property
    def network(self) -> Any:
        """The network, a module of `transformers`."""
        return self._held[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "PretrainedBackbone":
        return self


def load_network(auto_class: str, path: Path, device: str, trust_remote_code: bool) -> nn.Module:
    """Return a network of `transformers` in evaluation mode.

    Args:
        auto_class: class of `transformers`.
        path: folder.
        device: as in `PretrainedBackbone`.
        trust_remote_code: run the code of the folder that `auto_map` names.

    Raises:
        InputError: as for `PretrainedBackbone`.
    """
    transformers = import_transformers(f"`{path}` is a model of `transformers`")
    if (loader := getattr(transformers, auto_class, None)) is None:
        raise InputError(
            f"`{path}` needs `{auto_class}`, which transformers {transformers.__version__} does not have: pip install "
            f"'transformers>={OLDEST}'."
        )
    place: dict[str, Any] = {}
    if device == "auto":
        require_package("accelerate", EXTRA, f"`{path}` does not fit on one device and is distributed over several")
        place = {"device_map": "auto", "max_memory": memory_budget(), "offload_folder": str(keep_folder())}
    try:
        with quiet(transformers):
            network, found = loader.from_pretrained(
                str(path),
                dtype="auto",
                output_loading_info=True,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                **place,
            )
    except Exception as error:  # errors of the library share no base class
        raise InputError(
            f"`{path}` cannot be read by `{auto_class}`: {sanitize_message(first_line(error))}."
        ) from error
    missing = sorted({*found["missing_keys"], *(str(one) for one in found["mismatched_keys"])})
    if missing:
        names = ", ".join(sanitize_message(name) for name in missing[:SHOWN])
        raise InputError(
            f"`{path}` lacks {len(missing)} weights of `{auto_class}`, such as {names}; they would be random numbers."
        )
    network = network.eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if not weight.is_meta and not bool(weight.isfinite().all()):  # weights on the disk are read on use
            raise InputError(f"`{path}` cannot be measured: `{name}` in it holds NaN or infinity.")
    moved: nn.Module = network if device == "auto" else network.to(torch.device(device))
    return moved


def memory_budget() -> dict[int | str, int]:
    """Return the bytes of weights that each device may hold: its free memory less that of the work on a batch."""
    gpus = [torch.cuda.mem_get_info(one)[0] for one in range(torch.cuda.device_count())]
    free: dict[int | str, int] = {**dict(enumerate(gpus)), "cpu": free_memory()["cpu"]}
    return {device: max(size - WORK_BYTES, 0) for device, size in free.items()}


def import_transformers(reason: str) -> Any:
    """Return the module `transformers`.

    Args:
        reason: beginning of the message: what needs it.

    Raises:
        InputError: it is not installed.
    """
    require_package("transformers", EXTRA, reason)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice is about training
    return importlib.import_module("transformers")


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Show neither warnings nor progress bars of `transformers` and of torch within this context."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
