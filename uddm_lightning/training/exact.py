"""Predictions of the exact model of the text, where its distribution is known."""

from uddm_lightning.backbones import MarkovBackbone, TextStatistics
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import HybridProcess
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of


def exact_denoiser(task: DiffusionTask) -> Denoiser | None:
    """Return the exact predictions for text of a known Markov chain; None for other text.

    `MarkovBackbone` computes them in float64 under uniform and under absorbing noise, so None for hybrid noise. Uniform
    random rows are text of a chain whose transitions are all equally likely (`MarkovSource` with sharpness 0).
    """
    data = data_of(task.trainer)
    if data.markov_chain is None or isinstance(task.process, HybridProcess):
        return None
    backbone = MarkovBackbone(task.process.num_states).to(task.device)
    backbone.prepare(TextStatistics(data.training_rows, data.unigram, data.markov_chain, task.process.mask_id))
    return Denoiser(task.process, backbone, Parameterization.LEAVE_ONE_OUT)
