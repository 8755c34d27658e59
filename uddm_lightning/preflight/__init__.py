"""What a run would take, said before it begins."""

from uddm_lightning.preflight.command import preflight

__all__ = ["preflight"]
