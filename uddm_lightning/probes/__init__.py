"""Probes: callbacks that measure a model during validation. One file per probe."""

from uddm_lightning.probes.base import Probe as Probe
from uddm_lightning.probes.basin import BasinProbe as BasinProbe
from uddm_lightning.probes.entropy import EntropyProbe as EntropyProbe
from uddm_lightning.probes.nelbo import NelboProbe as NelboProbe
from uddm_lightning.probes.recovery import RecoveryProbe as RecoveryProbe
from uddm_lightning.probes.samples import SampleProbe as SampleProbe
from uddm_lightning.probes.trajectory import TrajectoryProbe as TrajectoryProbe
