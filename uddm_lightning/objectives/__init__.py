"""Training objectives."""

from uddm_lightning.objectives.base import Objective
from uddm_lightning.objectives.cross_entropy import DenoisingCrossEntropy
from uddm_lightning.objectives.duo_curriculum import DuoCurriculum
from uddm_lightning.objectives.nelbo import NELBO

__all__ = ["NELBO", "DenoisingCrossEntropy", "DuoCurriculum", "Objective"]
