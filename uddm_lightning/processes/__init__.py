"""Forward processes: noise on tokens, their reverse steps and likelihood bounds."""

from uddm_lightning.processes.absorbing import AbsorbingProcess as AbsorbingProcess
from uddm_lightning.processes.base import Process as Process
from uddm_lightning.processes.hybrid import HybridProcess as HybridProcess
from uddm_lightning.processes.uniform import UniformProcess as UniformProcess
