"""Critics: language models that compute the generative perplexity of samples."""

from uddm_lightning.critics.base import Critic, CriticScores, CriticText
from uddm_lightning.critics.hub import HubCritic
from uddm_lightning.critics.ngram import NgramCritic
from uddm_lightning.stats.ngrams import ABSENT

__all__ = ["ABSENT", "Critic", "CriticScores", "CriticText", "HubCritic", "NgramCritic"]
