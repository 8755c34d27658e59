"""Backbones: networks that predict clean tokens, and oracles with exact predictions."""

from uddm_lightning.backbones.base import Backbone as Backbone
from uddm_lightning.backbones.base import SoftBackbone as SoftBackbone
from uddm_lightning.backbones.base import TextStatistics as TextStatistics
from uddm_lightning.backbones.dit import DiT as DiT
from uddm_lightning.backbones.empirical_bayes import EmpiricalBayesBackbone as EmpiricalBayesBackbone
from uddm_lightning.backbones.markov import MarkovBackbone as MarkovBackbone
from uddm_lightning.backbones.oracle import Oracle as Oracle
from uddm_lightning.backbones.unigram import UnigramBackbone as UnigramBackbone
