"""Estimate the training size at which a model stops memorizing, from the table of a sweep."""

from uddm_lightning.transition.adaptive import next_sizes
from uddm_lightning.transition.curves import Curve, curves
from uddm_lightning.transition.equivalence import Equivalence, equivalence
from uddm_lightning.transition.estimate import estimate

__all__ = [
    "Curve",
    "Equivalence",
    "curves",
    "equivalence",
    "estimate",
    "next_sizes",
]
