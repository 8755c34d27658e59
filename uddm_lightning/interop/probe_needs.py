"""Memory and time that measurements of a model of `transformers` need, from the headers of its files alone."""

import os
import time
from typing import NamedTuple

import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import format_duration
from uddm_lightning.interop.hub_folder import BYTES, HubFolder

SAMPLES = 256  # rows of `uddm probe`
EVALUATIONS = 22  # of each row that is measured: 9 for the table of entropies, 13 for the evidence of the verdict
WORK_BYTES = 2 * 2**30  # predictions of a batch, activations and libraries: assumed
TRIAL = 0.2  # seconds of the measurement of speed
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


class ProbeNeeds(NamedTuple):
    """Needs of a probe of 256 own samples.

    Attributes:
        parameters: number of weights.
        active: number of weights that a token passes through: without experts that its router leaves out.
        weight_bytes: bytes of the weights as stored.
        row_operations: floating-point operations of one evaluation of a row.
        evaluations: evaluations of a row that the probe makes, over all rows.
    """

    parameters: int
    active: int
    weight_bytes: int
    row_operations: int
    evaluations: int

    @property
    def memory(self) -> int:
        """Bytes that the weights and the work on a batch take."""
        return self.weight_bytes + WORK_BYTES

    def sentence(self, speed: float) -> str:
        """Return the needs as a sentence.

        Args:
            speed: floating-point operations per second of large products.
        """
        share = "" if self.active == self.parameters else f" ({self.active / 1e9:,.2f} B for each token)"
        seconds = self.row_operations * self.evaluations / speed
        return (
            f"{self.parameters / 1e9:,.2f} B parameters{share}, {self.weight_bytes / 1e9:,.1f} GB of weights, about "
            f"{self.memory / 1e9:,.1f} GB of memory; a probe of {SAMPLES} own samples takes {self.evaluations:,} "
            f"evaluations of a row, {self.row_operations * self.evaluations:.1e} operations, at least "
            f"{format_duration(seconds)} at the speed of this device"
        )


def probe_needs(folder: HubFolder, length: int, steps: int) -> ProbeNeeds:
    """Return the needs of a probe of own samples.

    Args:
        folder: of the model; the data of the weights are not read.
        length: positions of a row.
        steps: evaluations that draw a row.
    """
    text = folder.config.get("text_config")
    text = text if isinstance(text, dict) else folder.config
    experts, used = text.get("num_experts"), text.get("top_k_experts")
    entries = folder.weights.entries
    parameters = sum(entry.size for entry in entries.values())
    active = parameters
    if isinstance(experts, int) and isinstance(used, int) and 0 < used < experts:
        routed = sum(entry.size for name, entry in entries.items() if ".experts." in name)
        active += routed * used // experts - routed
    stored = sum(entry.size * BYTES[entry.dtype] for entry in entries.values())
    return ProbeNeeds(parameters, active, stored, 2 * active * length, SAMPLES * (steps + EVALUATIONS))


def place(needs: ProbeNeeds, given: str | None, free: dict[str, int]) -> str:
    """Return the device of the weights: the given one, else a GPU if they fit, else several devices.

    Args:
        needs: of the probe.
        given: by the user; None chooses.
        free: bytes by device: "cpu", "cuda" if there is a GPU, and "other GPUs" if there are more.

    Raises:
        InputError: the weights fit nowhere.
    """
    if given is not None:
        return given
    if needs.memory > sum(free.values()):
        raise InputError(
            f"The model needs about {needs.memory / 1e9:,.1f} GB, and this machine has {sum(free.values()) / 1e9:,.1f} "
            "GB of free memory on all devices. Use a larger machine. For a network of `transformers`, `--device auto` "
            "reads the rest from the disk at each evaluation, which is slow."
        )
    if "cuda" not in free:
        return "cpu"
    return "cuda" if needs.memory <= free["cuda"] else "auto"


def free_memory() -> dict[str, int]:
    """Return the free bytes by device: "cpu", "cuda" for the first GPU, and "other GPUs" for the rest together."""
    found = {"cpu": _free_on_host()}
    if torch.cuda.is_available():
        first, *others = (torch.cuda.mem_get_info(one)[0] for one in range(torch.cuda.device_count()))
        found |= {"cuda": first, "other GPUs": sum(others)}
    return found


def main_device(device: str) -> str:
    """Return the device of noise and ids; "auto" is a GPU where there is one."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def measured_speed(dtype: str, device: str) -> float:
    """Return the floating-point operations per second of large matrix products, from a trial of a fifth of a second.

    Args:
        dtype: of the weights, as safetensors names it.
        device: of the weights.
    """
    where = main_device(device)
    size = 256 if where == "cpu" else 4096
    one = torch.ones(size, size, dtype=DTYPES.get(dtype, torch.float32), device=where)
    products, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < TRIAL:
        (one @ one).sum().item()  # reads a number, so that an asynchronous device is done
        products += 1
    return 2.0 * size**3 * products / seconds


def _free_on_host() -> int:
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # another system
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
