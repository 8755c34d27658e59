"""Probes: callbacks that measure a model during validation. One file per probe."""

from uddm_lightning.probes.base import Probe
from uddm_lightning.probes.basin import BasinProbe
from uddm_lightning.probes.entropy import EntropyProbe
from uddm_lightning.probes.nelbo import NelboProbe
from uddm_lightning.probes.recovery import RecoveryProbe
from uddm_lightning.probes.samples import SampleProbe
from uddm_lightning.probes.trajectory import TrajectoryProbe

__all__ = [
    "BasinProbe",
    "EntropyProbe",
    "NelboProbe",
    "Probe",
    "RecoveryProbe",
    "SampleProbe",
    "TrajectoryProbe",
]
