"""How noise enters a text."""

from uddm_lightning.processes.absorbing import AbsorbingProcess
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.processes.uniform import UniformProcess

__all__ = ["AbsorbingProcess", "Parameterization", "Process", "UniformProcess"]
