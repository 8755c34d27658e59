"""Self-checks of the numerical code on this machine."""

from uddm_lightning.doctor.checks import Check as Check
from uddm_lightning.doctor.checks import Checks as Checks
