"""How noise enters a text."""

from uddm_lightning.processes.base import Prediction, Process
from uddm_lightning.processes.uniform import UniformProcess

__all__ = ["Prediction", "Process", "UniformProcess"]
