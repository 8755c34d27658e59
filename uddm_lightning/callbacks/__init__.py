"""When to measure, and where the results go."""

from uddm_lightning.callbacks.basin import BasinProbe
from uddm_lightning.callbacks.basin_table import BasinTable
from uddm_lightning.callbacks.entropy import EntropyProbe
from uddm_lightning.callbacks.foreign import check_callbacks, check_monitors
from uddm_lightning.callbacks.heartbeat import Heartbeat
from uddm_lightning.callbacks.measurements import MeasurementTable
from uddm_lightning.callbacks.nelbo import NelboProbe
from uddm_lightning.callbacks.probe import Probe
from uddm_lightning.callbacks.progress import StepProgressBar
from uddm_lightning.callbacks.recovery import RecoveryProbe
from uddm_lightning.callbacks.restored import RestoredText
from uddm_lightning.callbacks.samples import SampleProbe
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.callbacks.tensorboard import TensorBoardPage
from uddm_lightning.callbacks.trajectory import TrajectoryProbe

__all__ = [
    "BasinProbe",
    "BasinTable",
    "EntropyProbe",
    "Heartbeat",
    "MeasurementTable",
    "NelboProbe",
    "Probe",
    "RecoveryProbe",
    "RestoredText",
    "SampleProbe",
    "SequenceTable",
    "StepProgressBar",
    "TensorBoardPage",
    "TrajectoryProbe",
    "check_callbacks",
    "check_monitors",
]
