"""Samplers: reverse chains from noise to text."""

from uddm_lightning.samplers.ancestral import AncestralSampler as AncestralSampler
from uddm_lightning.samplers.base import Observer as Observer
from uddm_lightning.samplers.base import Sampler as Sampler
from uddm_lightning.samplers.predictor_corrector import PredictorCorrectorSampler as PredictorCorrectorSampler
from uddm_lightning.samplers.spin_dynamics import SpinDynamics as SpinDynamics
