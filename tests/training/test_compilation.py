"""Compilation for training: when it happens, and that a run compiles each part once, as one graph."""

import copy
import pickle
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.support.tasks import small_network, small_task
from uddm_lightning.backbones import DiT
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.training import compilation
from uddm_lightning.training.compilation import CompileOption, TrainingCompiler

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),  # raised by the compiler of torch
    pytest.mark.filterwarnings("ignore:The .grad attribute"),  # torch.compile asks for it
]


def trainer(device: str = "cuda", steps: int = 1000, accumulation: int = 1, world_size: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)),
        max_steps=steps,
        accumulate_grad_batches=accumulation,
        world_size=world_size,
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[nn.Module, dict[str, Any]]]:
    """Record the modules that are compiled, and pretend that Triton is installed."""
    found: list[tuple[nn.Module, dict[str, Any]]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: found.append((module, options)))
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(compilation, "find_spec", lambda name: name)
    return found


def start(option: CompileOption, network: DiT, **options: Any) -> TrainingCompiler:
    compiler = TrainingCompiler(option)
    compiler.start(network, UniformProcess(5, LogLinearSchedule()), trainer(**options))
    return compiler


@pytest.mark.parametrize(
    ("option", "options", "active"),
    [
        ("auto", {}, True),
        ("auto", {"steps": -1}, True),
        ("auto", {"steps": 999}, False),
        ("auto", {"device": "cpu"}, False),
        (True, {"device": "cpu", "steps": 1}, True),
        (False, {}, False),
    ],
)
def test_long_runs_on_cuda_are_compiled(
    option: CompileOption, options: dict[str, Any], active: bool, compiled: list[Any]
) -> None:
    network = small_network()
    assert start(option, network, **options).is_active is active
    assert [module for module, _ in compiled] == [network] * active
    assert all(choice["fullgraph"] for _, choice in compiled)


def test_networks_that_read_values_and_machines_without_triton_are_not_compiled(
    compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(DiT, "capturable", False)
        assert not start("auto", small_network()).is_active
        assert start(True, small_network()).is_active
        assert compiled[0][1]["fullgraph"] is False
    monkeypatch.setattr(compilation, "find_spec", lambda name: None)
    assert not start("auto", small_network()).is_active
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "reduce-overhead"),
        ({"accumulation": 2}, None),
        ({"world_size": 2}, None),
        ({"device": "cpu"}, None),
    ],
)
def test_cuda_graphs_are_for_small_networks(options: dict[str, Any], mode: str | None, compiled: list[Any]) -> None:
    start(True, small_network(), **options)
    assert {choice["mode"] for _, choice in compiled} == {mode}


def test_large_networks_use_no_cuda_graphs(compiled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    monkeypatch.setattr(compilation, "SMALL_PARAMETERS", sum(one.numel() for one in network.parameters()) - 1)
    start(True, network)
    assert compiled[0][1]["mode"] is None


def test_several_processes_compile_blocks(compiled: list[Any]) -> None:
    """The gradients of a whole compiled network would arrive at once, after its backward pass."""
    network = DiT(5, hidden_size=8, n_blocks=3, n_heads=2)
    start(True, network, world_size=2)
    assert [module for module, _ in compiled] == list(network.blocks)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace graphs as for a compiler, and run them without one."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()


def a_batch(step: int, padded: bool = False) -> TokenBatch:
    rows_B, tokens_BL = torch.arange(4), (torch.arange(12).view(4, 3) + step) % 5
    valid_BL = tokens_BL != 0 if padded else None
    return TokenBatch(tokens_BL, rows_B, rows_B, rows_B + step, rows_B.double() / 4, valid_BL, None, step, step)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("world_size", [1, 2])
def test_losses_and_gradients_are_equal(world_size: int, padded: bool, eager: None) -> None:
    plain, task = (small_task(compile=option).double().train() for option in (False, True))
    task.compiler.start(task.backbone, task.process, trainer("cpu", world_size=world_size))
    for step in range(3):
        losses = [one.training_step(a_batch(step, padded), 0) for one in (plain, task)]
        assert torch.equal(*losses)
        for loss in losses:
            loss.backward()
    for one, other in zip(plain.backbone.parameters(), task.backbone.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)
    assert counters["graph_break"] == {}
    assert counters["stats"]["unique_graphs"] == 3, "network or block, loss and noise"


def test_a_copy_is_not_compiled(eager: None) -> None:
    task = small_task(compile=True, optimizer=torch.optim.SGD).train()
    task.compiler.start(task.backbone, task.process, trainer("cpu"))
    task.training_step(a_batch(0), 0)
    for copied in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):  # noqa: S301 written by this test
        assert not copied.compiler.is_active
        assert copied.compiler.option is True
        assert torch.equal(copied.training_step(a_batch(0), 0), small_task().train().training_step(a_batch(0), 0))
    task.eval()
    assert task.denoiser("raw").backbone is not task.backbone, "measured in other shapes"
    graphs = counters["stats"]["unique_graphs"]
    task.eval_dtype = torch.float32
    denoiser = task.denoiser("raw")
    denoiser(lambda logits, x: (logits.argmax(1),), a_batch(0).tokens_BL, torch.rand(4), None)
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of tracing
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_run_compiles_each_part_once(accumulation: int, uddm: Any, config: Path, tmp_path: Path, eager: None) -> None:
    """Training with validations in between, in which the last batch of rows is smaller."""
    outcome = uddm(
        *("fit", "-c", config, "--out", tmp_path / "run", "--model.compile", "true"),
        *("--trainer.accumulate_grad_batches", accumulation, "--data.eval_batch_size", 3),
        *("--trainer.val_check_interval", 2),
        *("--model.eval_dtype", "float32"),
    )
    assert outcome.status == 0, outcome.err
    assert counters["graph_break"] == {}
    assert counters["stats"]["unique_graphs"] == 3, "network, loss and noise"
