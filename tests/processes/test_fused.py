"""Triton kernels, in Triton's interpreter on the CPU, agree with the plain formulas in float64."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("fused_in_interpreter.py")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has packages for Linux only")
def test_kernels_agree_with_plain_formulas() -> None:
    """The interpreter is chosen before Triton is imported, so it needs a process of its own."""
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(FILE)]
    outcome = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "skipped" not in outcome.stdout
