"""Forward processes: noise on tokens, their reverse steps and likelihood bounds."""

from uddm_lightning.processes.absorbing import AbsorbingProcess
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.processes.uniform import UniformProcess

__all__ = ["AbsorbingProcess", "Parameterization", "Process", "UniformProcess"]
