"""Metrics of torchmetrics: counts and sums by row, with intervals clustered by row, and functionals beside them."""

from uddm_lightning.metrics.basin import BasinResult as BasinResult
from uddm_lightning.metrics.basin import CriticalTime as CriticalTime
from uddm_lightning.metrics.basin import critical_time as critical_time
from uddm_lightning.metrics.entropy import ConditionalEntropy as ConditionalEntropy
from uddm_lightning.metrics.entropy import EntropyResult as EntropyResult
from uddm_lightning.metrics.neighbours import NeighbourResult as NeighbourResult
from uddm_lightning.metrics.neighbours import SampleNeighbours as SampleNeighbours
from uddm_lightning.metrics.nelbo import Nelbo as Nelbo
from uddm_lightning.metrics.nelbo import NelboDifference as NelboDifference
from uddm_lightning.metrics.nelbo import NelboResult as NelboResult
from uddm_lightning.metrics.recovery import ClassificationMargin as ClassificationMargin
from uddm_lightning.metrics.recovery import MarginResult as MarginResult
from uddm_lightning.metrics.recovery import RecoveryResult as RecoveryResult
from uddm_lightning.metrics.recovery import TokenRecovery as TokenRecovery
from uddm_lightning.metrics.rowwise import RowIds as RowIds
from uddm_lightning.metrics.temperature import BestTemperature as BestTemperature
from uddm_lightning.metrics.trajectory import TrajectoryPoint as TrajectoryPoint
from uddm_lightning.metrics.trajectory import TrajectoryResult as TrajectoryResult
