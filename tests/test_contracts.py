"""Every plugin of the package is found automatically and has contract tests.

The contract of each base class is in `test_base.py` of its package: `tests/processes/test_base.py` and so on; that of
noise schedules in `tests/processes/test_schedules.py`, of learning rates in `tests/training/test_lr_schedules.py`.
"""

import pytest

from tests.support.plugins import OPTIONS, plugins
from uddm_lightning.backbones import Backbone
from uddm_lightning.objectives import Objective
from uddm_lightning.processes import Process
from uddm_lightning.processes.schedules import LogLinearSchedule, Schedule
from uddm_lightning.samplers import Sampler
from uddm_lightning.training.lr_schedules import LRSchedule


def test_all_plugins_are_found() -> None:
    names = {
        cls.__name__ for base in (Process, Schedule, Backbone, Objective, Sampler, LRSchedule) for cls in plugins(base)
    }
    assert names >= {
        "AbsorbingProcess",
        "UniformProcess",
        "LogLinearSchedule",
        "CosineSchedule",
        "DiT",
        "EmpiricalBayesBackbone",
        "MarkovBackbone",
        "UnigramBackbone",
        "PseudoLikelihoodMemory",
        "HebbMemory",
        "PseudoInverseMemory",
        "DenseAssociativeMemory",
        "NELBO",
        "DenoisingCrossEntropy",
        "DuoCurriculum",
        "LeaveOneOutCrossEntropy",
        "AncestralSampler",
        "SpinDynamics",
        "WarmupConstant",
        "WarmupLinear",
    }
    assert set(OPTIONS) <= names, "a line for a class that is gone"


@pytest.mark.parametrize("base", [Process, Schedule, Backbone, Objective, Sampler, LRSchedule])
def test_base_classes_cannot_be_instantiated(base: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        base(*([2] if base is Backbone else [2, LogLinearSchedule()] if base is Process else []))
