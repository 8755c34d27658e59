"""A training step on an accelerator never makes the host wait, and its number of operations follows its chunks.

The accelerator is PyTorch's meta device: its tensors have no values, so that reading one raises. Tensors of a fake CUDA
device have no gradients where PyTorch was built without CUDA.
"""

import contextlib
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import adam

from tests.support.dispatch import OperationCounter
from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.objectives import (
    NELBO,
    DenoisingCrossEntropy,
    DuoCurriculum,
    LeaveOneOutCrossEntropy,
    Objective,
)
from uddm_lightning.processes import AbsorbingProcess, UniformProcess, fused
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.training.task import DiffusionTask

V, L = 30_522, 128
DEVICE = torch.device("meta")


@pytest.fixture(autouse=True)
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the meta device a seed and AdamW's fused kernel, as a GPU has."""
    module = SimpleNamespace(manual_seed=lambda seed: None, is_available=lambda: False)  # asked by CUDA builds
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    monkeypatch.setattr(adam, "_get_fused_kernels_supported_devices", lambda: ["meta"], raising=False)


def count(rows: int, objective: Objective, padded: bool = False, absorbing: bool = False) -> OperationCounter:
    """Return the operations of the second training step: forward, backward, optimizer and moving average."""
    task = DiffusionTask(
        V,
        process=partial(AbsorbingProcess if absorbing else UniformProcess, schedule=LogLinearSchedule()),
        backbone=partial(DiT, hidden_size=16, n_blocks=1, n_heads=2),
        objective=objective,
        optimizer=partial(torch.optim.AdamW, lr=1e-3, foreach=True),
    ).to(DEVICE)
    with FakeTensorMode(), torch.device(DEVICE):
        for module in task.modules():
            for name, parameter in module.named_parameters(recurse=False):
                value = nn.Parameter(torch.empty(parameter.shape), requires_grad=parameter.requires_grad)
                setattr(module, name, value)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
        optimizer = task.make_optimizer(task.backbone.parameters())
        for number in (2, rows):
            with OperationCounter() as counter:
                task.training_step(_batch(number, padded), 0).backward()
                torch.nn.utils.clip_grad_norm_(task.backbone.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                task.ema.update(task.backbone, 1)
    return counter


def _batch(rows: int, padded: bool) -> TokenBatch:
    rows_B, tokens_BL = torch.arange(rows), torch.zeros(rows, L, dtype=torch.int64)
    valid_BL = tokens_BL == 0 if padded else None
    return TokenBatch(tokens_BL, rows_B, rows_B, rows_B, torch.rand(rows).double(), valid_BL, None, 0, 0)


@pytest.mark.parametrize(
    ("objective", "padded", "absorbing"),
    [
        (NELBO(), False, False),
        (NELBO(), True, False),
        (NELBO(), True, True),
        (DenoisingCrossEntropy(), True, False),
        (DuoCurriculum(), False, False),
    ],
    ids=["nelbo", "padded", "absorbing", "cross-entropy", "curriculum"],
)
def test_a_step_never_makes_the_host_wait(objective: Objective, padded: bool, absorbing: bool) -> None:
    counter = count(16, objective, padded, absorbing)
    assert counter.operations.total() > 100
    assert counter.synchronisations == []


@pytest.mark.parametrize(
    ("objective", "kernel"),
    [(NELBO(), "nelbo"), (DenoisingCrossEntropy(), "cross_entropy"), (LeaveOneOutCrossEntropy(), "cross_entropy")],
    ids=["nelbo", "cross-entropy", "leave-one-out"],
)
def test_fused_kernels_replace_the_operations_over_the_vocabulary(
    monkeypatch, objective: Objective, kernel: str
) -> None:
    monkeypatch.setattr(fused, "FUSED_DEVICES", ("meta",))
    monkeypatch.setattr(fused, "_has_triton", lambda: True)
    counter = count(64, objective)
    assert counter.synchronisations == []
    assert counter.operations[kernel] == len(chunk_slices(64 * L, V, chunk_elements(DEVICE)))
    assert counter.operations["_softmax"] == counter.operations["_log_softmax"] == 0


def test_operations_are_a_constant_and_a_constant_for_each_chunk() -> None:
    chunks, operations = [], []
    for rows in (64, 256, 512):
        chunks.append(len(chunk_slices(rows * L, V, chunk_elements(DEVICE))))
        operations.append(count(rows, NELBO()).operations.total())
    per_chunk = (operations[1] - operations[0]) / (chunks[1] - chunks[0])
    assert operations[2] == operations[1] + per_chunk * (chunks[2] - chunks[1])
    assert per_chunk <= 110
    assert operations[0] - per_chunk * chunks[0] <= 1000


def test_reads_and_copies_count_as_synchronisations() -> None:
    values, mask = torch.ones(3, device=DEVICE), torch.ones(3, device=DEVICE) > 0
    with OperationCounter() as counter, FakeTensorMode(allow_non_fake_inputs=True):
        for wait in (values[0].item, mask.nonzero, lambda: values[mask], values.cpu):
            with contextlib.suppress(Exception):
                wait()
    assert counter.synchronisations == ["_local_scalar_dense", "nonzero", "index", "_to_copy"]
