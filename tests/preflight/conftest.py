"""The paper's tiny model, and a GPU with round numbers."""

from typing import Any

import pytest

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.preflight.gpu_estimate import GpuSpeed

V = 30_522
TINY = ["-c", "paper/lm1b_tiny", "--trainer.precision", "bf16-mixed"]
SLOW = GpuSpeed("slow", 1e12, ((256, 0.5), (768, 0.5)), 0.001, "a test")


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    return resolve(TINY).values
