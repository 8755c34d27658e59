"""Samplers: reverse chains from noise to text."""

from uddm_lightning.samplers.ancestral import AncestralSampler
from uddm_lightning.samplers.base import Observer, Sampler

__all__ = ["AncestralSampler", "Observer", "Sampler"]
