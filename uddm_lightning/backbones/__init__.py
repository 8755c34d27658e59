"""What was here? The networks, and oracles in their place."""

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.dit import DiT

__all__ = ["Backbone", "DiT"]
