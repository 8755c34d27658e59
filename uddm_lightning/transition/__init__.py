"""Estimate the training size at which a model stops memorizing, from the table of a sweep."""

from uddm_lightning.transition.adaptive import next_sizes as next_sizes
from uddm_lightning.transition.equivalence import Equivalence as Equivalence
from uddm_lightning.transition.equivalence import equivalence as equivalence
from uddm_lightning.transition.estimate import estimate as estimate
