"""Callbacks that write the results of the probes: tables, TensorBoard, progress and restored text."""

from uddm_lightning.callbacks.basin_table import BasinTable
from uddm_lightning.callbacks.foreign import check_callbacks, check_monitors
from uddm_lightning.callbacks.heartbeat import Heartbeat
from uddm_lightning.callbacks.measurements import MeasurementTable
from uddm_lightning.callbacks.progress import StepProgressBar, StepProgressLines
from uddm_lightning.callbacks.restored import RestoredText
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.callbacks.tensorboard import TensorBoardPage

__all__ = [
    "BasinTable",
    "Heartbeat",
    "MeasurementTable",
    "RestoredText",
    "SequenceTable",
    "StepProgressBar",
    "StepProgressLines",
    "TensorBoardPage",
    "check_callbacks",
    "check_monitors",
]
