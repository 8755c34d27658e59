"""Where the cells of a sweep are trained."""

from uddm_lightning.sweep.launchers.base import Launcher, Outcome
from uddm_lightning.sweep.launchers.local import LocalLauncher

__all__ = ["Launcher", "LocalLauncher", "Outcome"]
