"""Triton kernels, in Triton's interpreter on the CPU, agree with the plain formulas in float64."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import uddm_lightning.processes.fused_triton as kernels

ids = ["x0", "xt", "target", "at", "top"]
for kernel in (kernels.nelbo_kernel, kernels.cross_entropy_kernel, kernels.statistics_kernel):
    for block, whole in ((1024, True), (kernels.TILE, False)):
        constants = {"BLOCK": block, "WHOLE": whole, "GRADIENT": True, "dtype": triton.language.float32}
        constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
        kinds = {"logits": "*bf16", "V": "i32", "N": "i32", "stride": "i64", **dict.fromkeys(ids, "*i64")}
        signature = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
"""
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


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has packages for Linux only")
def test_kernels_compile_for_a_gpu() -> None:
    """Triton compiles for a GPU that is not there; the interpreter accepts more than its compiler."""
    outcome = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
