"""Callbacks that write the results of the probes: tables, TensorBoard, progress and restored text.

Others validate after given steps, or stop a run.
"""

from uddm_lightning.callbacks.basin_table import BasinTable as BasinTable
from uddm_lightning.callbacks.foreign import check_callbacks as check_callbacks
from uddm_lightning.callbacks.foreign import check_monitors as check_monitors
from uddm_lightning.callbacks.heartbeat import Heartbeat as Heartbeat
from uddm_lightning.callbacks.measurements import MeasurementTable as MeasurementTable
from uddm_lightning.callbacks.progress import StepProgressBar as StepProgressBar
from uddm_lightning.callbacks.progress import StepProgressLines as StepProgressLines
from uddm_lightning.callbacks.restored import RestoredText as RestoredText
from uddm_lightning.callbacks.sequences import SequenceTable as SequenceTable
from uddm_lightning.callbacks.stop_before_memorizing import StopBeforeMemorizing as StopBeforeMemorizing
from uddm_lightning.callbacks.tensorboard import TensorBoardPage as TensorBoardPage
from uddm_lightning.callbacks.validation_steps import ValidationSteps as ValidationSteps
