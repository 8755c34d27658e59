"""From tables to the size at which a model stops memorizing."""

from uddm_lightning.transition.adaptive import next_sizes
from uddm_lightning.transition.curves import METHODS, REFERENCE_T, Curve, Point, curves
from uddm_lightning.transition.equivalence import Equivalence, equivalence
from uddm_lightning.transition.estimate import estimate
from uddm_lightning.transition.falling import falling

__all__ = [
    "METHODS",
    "REFERENCE_T",
    "Curve",
    "Equivalence",
    "Point",
    "curves",
    "equivalence",
    "estimate",
    "falling",
    "next_sizes",
]
