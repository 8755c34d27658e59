"""Backbones: networks that predict clean tokens, and oracles with exact predictions."""

from uddm_lightning.backbones.base import Backbone, SoftBackbone, TextStatistics
from uddm_lightning.backbones.dit import DiT
from uddm_lightning.backbones.empirical_bayes import EmpiricalBayesBackbone
from uddm_lightning.backbones.markov import MarkovBackbone
from uddm_lightning.backbones.oracle import Oracle
from uddm_lightning.backbones.unigram import UnigramBackbone

__all__ = [
    "Backbone",
    "DiT",
    "EmpiricalBayesBackbone",
    "MarkovBackbone",
    "Oracle",
    "SoftBackbone",
    "TextStatistics",
    "UnigramBackbone",
]
