"""Uniform-state discrete diffusion language models, trained on nested subsets and measured as associative memories.

The names below are imported on first use, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uddm_lightning.data import TextDataModule
    from uddm_lightning.probes import EntropyProbe, RecoveryProbe
    from uddm_lightning.runs.run import load_run
    from uddm_lightning.sweeps.sweep import sweep
    from uddm_lightning.training.task import DiffusionTask

__version__ = "0.1.0"
__all__ = ["DiffusionTask", "EntropyProbe", "RecoveryProbe", "TextDataModule", "__version__", "load_run", "sweep"]

_MODULES = {
    "DiffusionTask": "training.task",
    "EntropyProbe": "probes",
    "RecoveryProbe": "probes",
    "TextDataModule": "data",
    "load_run": "runs.run",
    "sweep": "sweeps.sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # later uses do not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
