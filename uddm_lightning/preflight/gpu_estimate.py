"""Estimates of the time and the memory of a run on a GPU.

They are computed from the shapes of the network and from measured speeds; they are no measurements of the run.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunks import BYTES_PER_ELEMENT, elements_in_memory
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight import needs
from uddm_lightning.preflight.network_cost import NetworkCost, network_cost
from uddm_lightning.runs.instantiate import build_plugin

CONTEXT_BYTES = 600_000_000  # of CUDA and its libraries in each process: assumed
FLOAT32_SPEED = 0.5  # of bf16 products: assumed


class GpuSpeed(NamedTuple):
    """Speed of a GPU, as measured by `python -m tests.benchmarks`.

    Attributes:
        name: name of the GPU.
        products: bf16 operations per second of large matrix products.
        shares: widths of networks, ascending, and the share of `products` that their training steps reach.
        shortest_step: seconds of a step of a very small network, which launches of kernels determine.
        source: where the figures come from.
        memory: bytes of the GPU; None if unknown.
    """

    name: str
    products: float
    shares: tuple[tuple[int, float], ...]
    shortest_step: float
    source: str
    memory: int | None = None

    def share(self, hidden_size: int) -> float:
        """Return the share of `products` for a width; constant outside the measured widths."""
        widths, shares = zip(*self.shares, strict=True)
        return float(np.interp(hidden_size, widths, shares))


# Training steps in bf16 with V = 30,522 and L = 128: tiny compiled, 256 rows, 44 ms; small eager, 128 rows, 86 ms.
# The quickstart's step took 10 ms. Chunks of 2^28 logits were set by hand in the version that was measured.
H100 = GpuSpeed(
    name="H100",
    products=798e12,
    shares=((256, 0.082), (768, 0.159)),
    shortest_step=0.010,
    source="speed of an earlier version of this package on one H100",
    memory=85_000_000_000,
)


class RunEstimate(NamedTuple):
    """Estimated time and memory of the training of a run.

    Attributes:
        step_seconds: seconds of an optimizer step.
        step_flops: operations of the matrix products of a step, in all processes.
        gpu_hours: hours of all GPUs together; None if the number of steps is not limited.
        share: assumed share of the measured speed of products.
        memory: bytes on each GPU.
    """

    step_seconds: float
    step_flops: float
    gpu_hours: float | None
    share: float
    memory: int


def estimate_run(
    config: dict[str, Any], vocab_size: int, speed: GpuSpeed = H100, gpu_memory: int | None = None
) -> RunEstimate | None:
    """Return the estimate of the training of a run, without its measurements.

    Args:
        config: the resolved configuration.
        vocab_size: V.
        speed: the GPU.
        gpu_memory: bytes of the GPU, which limit the chunks of logits; None for no limit.

    Returns:
        The estimate; None if the operations of the backbone cannot be counted.

    Raises:
        InputError: an argument of the backbone or the optimizer is wrong.
    """
    trainer, data = config["trainer"], config["data"]
    half = "16" in str(trainer["precision"] or "")
    length = int(data["packing"]["init_args"]["length"])
    make = build_plugin(Callable[[int], Backbone], "model.backbone", config["model"]["backbone"])
    cost = network_cost(make, vocab_size, length, half)
    if cost is None:
        return None
    world_size, accumulation = needs.processes(trainer).world_size, int(trainer["accumulate_grad_batches"])
    rows = -(-int(data["batch_size"]) // (world_size * accumulation))
    share = speed.share(cost.hidden_size)
    per_second = speed.products * share * (1.0 if half else FLOAT32_SPEED)
    seconds = accumulation * max(speed.shortest_step, rows * cost.training_flops / per_second)
    steps = int(trainer["max_steps"])
    return RunEstimate(
        step_seconds=seconds,
        step_flops=float(int(data["batch_size"]) * cost.training_flops),
        gpu_hours=steps * seconds * world_size / 3600 if steps > 0 else None,
        share=share,
        memory=training_memory(config, cost, vocab_size, rows, length, gpu_memory),
    )


def training_memory(
    config: dict[str, Any], cost: NetworkCost, vocab_size: int, rows: int, length: int, gpu_memory: int | None
) -> int:
    """Return the bytes that a process needs on its GPU: context, weights and their copies, activations, logits."""
    model = config["model"]
    parameters = needs.num_parameters(model["backbone"], vocab_size)
    copies = 3 + needs.states_per_parameter(model["optimizer"])  # weights, gradient, moving average
    measured = 8 * parameters if model["eval_dtype"] == "float64" else 0  # a copy of the weights for measurements
    logits = rows * length * vocab_size
    if gpu_memory is not None:
        logits = min(logits, elements_in_memory(gpu_memory))
    weights = copies * needs.FLOAT_BYTES * parameters + measured
    return CONTEXT_BYTES + weights + rows * cost.activation_bytes + BYTES_PER_ELEMENT * logits


def smallest_gpu_memory() -> int | None:
    """Return the bytes of the smallest GPU of this machine; None without a GPU."""
    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    return min(sizes, default=None)


def read_speed(path: Path) -> GpuSpeed:
    """Return the speed of a GPU from a table of `python -m tests.benchmarks`.

    Raises:
        InputError: the file cannot be read, or a row that is needed is missing or was not measured.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        cells = {(row["path"], row["side"]): row for row in rows}
        name = next(row["side"] for row in rows if row["path"] == "machine")
        tiny, small = (
            float(cells[f"training step, {network} rows", "ours, compiled"]["TFLOP/s"])
            for network in ("tiny, 256", "small, 128")
        )
        products = float(cells["products", "bfloat16"]["TFLOP/s"])
        step = float(cells["quickstart step", "ours, uddm fit"]["ms"]) / 1e3
    except (OSError, KeyError, ValueError, StopIteration) as error:
        raise InputError(
            f"`--benchmark {path}` is not a complete table of `python -m tests.benchmarks` on a GPU "
            f"({type(error).__name__}: {error}). Run `tests/benchmarks/gpu.sh` again, or leave `--benchmark` out."
        ) from error
    shares = ((256, tiny / products), (768, small / products))
    return GpuSpeed(name, products * 1e12, shares, step, f"speed from {path}")
