"""Backbones: networks that predict clean tokens, and oracles with exact predictions."""

from uddm_lightning.backbones.base import Backbone as Backbone
from uddm_lightning.backbones.base import SoftBackbone as SoftBackbone
from uddm_lightning.backbones.base import TextStatistics as TextStatistics
from uddm_lightning.backbones.dense_memory import DenseAssociativeMemory as DenseAssociativeMemory
from uddm_lightning.backbones.dit import DiT as DiT
from uddm_lightning.backbones.empirical_bayes import EmpiricalBayesBackbone as EmpiricalBayesBackbone
from uddm_lightning.backbones.gidd import GiddTransformer as GiddTransformer
from uddm_lightning.backbones.hollow_transformer import HollowTransformer as HollowTransformer
from uddm_lightning.backbones.hopfield import HebbMemory as HebbMemory
from uddm_lightning.backbones.hopfield import PseudoInverseMemory as PseudoInverseMemory
from uddm_lightning.backbones.linear_memory import LinearMemory as LinearMemory
from uddm_lightning.backbones.markov import MarkovBackbone as MarkovBackbone
from uddm_lightning.backbones.oracle import Oracle as Oracle
from uddm_lightning.backbones.pseudo_likelihood import PseudoLikelihoodMemory as PseudoLikelihoodMemory
from uddm_lightning.backbones.unigram import UnigramBackbone as UnigramBackbone
