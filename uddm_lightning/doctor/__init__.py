"""Self-checks of the numerical code on this machine."""

from uddm_lightning.doctor.checks import Check, Checks

__all__ = ["Check", "Checks"]
