"""Whether this machine counts right."""

from uddm_lightning.doctor.checks import Check, Checks

__all__ = ["Check", "Checks"]
