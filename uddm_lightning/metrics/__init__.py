"""Metrics of torchmetrics: counts and sums by row, with intervals clustered by row, and functionals beside them."""

from uddm_lightning.metrics.basin import BasinResult, CriticalTime, critical_time
from uddm_lightning.metrics.entropy import ConditionalEntropy, EntropyResult
from uddm_lightning.metrics.neighbours import NeighbourResult, SampleNeighbours
from uddm_lightning.metrics.nelbo import Nelbo, NelboResult
from uddm_lightning.metrics.recovery import ClassificationMargin, MarginResult, RecoveryResult, TokenRecovery
from uddm_lightning.metrics.trajectory import TrajectoryPoint, TrajectoryResult

__all__ = [
    "BasinResult",
    "ClassificationMargin",
    "ConditionalEntropy",
    "CriticalTime",
    "EntropyResult",
    "MarginResult",
    "NeighbourResult",
    "Nelbo",
    "NelboResult",
    "RecoveryResult",
    "SampleNeighbours",
    "TokenRecovery",
    "TrajectoryPoint",
    "TrajectoryResult",
    "critical_time",
]
