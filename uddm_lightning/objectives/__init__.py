"""Training objectives."""

from uddm_lightning.objectives.base import Objective as Objective
from uddm_lightning.objectives.cross_entropy import DenoisingCrossEntropy as DenoisingCrossEntropy
from uddm_lightning.objectives.duo_curriculum import DuoCurriculum as DuoCurriculum
from uddm_lightning.objectives.leave_one_out_cross_entropy import LeaveOneOutCrossEntropy as LeaveOneOutCrossEntropy
from uddm_lightning.objectives.nelbo import NELBO as NELBO
from uddm_lightning.objectives.reweighted_nelbo import ReweightedNELBO as ReweightedNELBO
