"""Critics: language models that compute the generative perplexity of samples."""

from uddm_lightning.critics.base import Critic as Critic
from uddm_lightning.critics.base import CriticScores as CriticScores
from uddm_lightning.critics.base import CriticText as CriticText
from uddm_lightning.critics.held_out_ngram import HeldOutNgramCritic as HeldOutNgramCritic
from uddm_lightning.critics.hub import HubCritic as HubCritic
from uddm_lightning.critics.ngram import NgramCritic as NgramCritic
from uddm_lightning.stats.ngrams import ABSENT as ABSENT
