"""Launchers: train the runs of a sweep on this machine or on a cluster."""

from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.launchers.local import LocalLauncher
from uddm_lightning.sweeps.launchers.slurm import SlurmLauncher

__all__ = ["Launcher", "LocalLauncher", "Outcome", "SlurmLauncher"]
