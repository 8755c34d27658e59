"""Launchers: train the runs of a sweep on this machine or on a cluster."""

from uddm_lightning.sweeps.launchers.base import Launcher as Launcher
from uddm_lightning.sweeps.launchers.base import Outcome as Outcome
from uddm_lightning.sweeps.launchers.local import LocalLauncher as LocalLauncher
from uddm_lightning.sweeps.launchers.slurm import SlurmLauncher as SlurmLauncher
