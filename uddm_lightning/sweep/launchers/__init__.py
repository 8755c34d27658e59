"""Where the cells of a sweep are trained."""

from uddm_lightning.sweep.launchers.base import Launcher, Outcome
from uddm_lightning.sweep.launchers.local import LocalLauncher
from uddm_lightning.sweep.launchers.slurm import SlurmLauncher

__all__ = ["Launcher", "LocalLauncher", "Outcome", "SlurmLauncher"]
