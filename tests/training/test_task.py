"""The moving average, the guard against invalid losses, and the checks of the task."""

import copy
import pickle
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.plugins import MixedPrecision, Precision

from tests.support.tasks import small_network, small_task
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.training.task import DiffusionTask


def test_predict_t_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"`predict_t` must be in \(0, 1\], got 0"):
        small_task(predict_t=0)


def test_the_seed_alone_decides_the_initial_weights():
    torch.manual_seed(1)
    first = small_task(seed=3)
    state = torch.random.get_rng_state()
    second = small_task(seed=3)
    assert torch.equal(state, torch.random.get_rng_state()), "the ambient generator is left alone"
    third = small_task(seed=4)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_parameters_are_counted_once():
    model = small_task()
    assert model.parameter_count == sum(p.numel() for p in small_network().parameters())


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_measured_weights_are_a_copy_without_dropout(weights, dtype):
    model = small_task(eval_dtype=dtype).train()
    denoiser = model.denoiser(weights)
    assert not denoiser.backbone.training
    assert next(denoiser.backbone.parameters()).dtype is getattr(torch, dtype)
    assert model.backbone.training
    assert next(model.backbone.parameters()).dtype is torch.float32


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_logged_loss_is_per_valid_token_of_the_whole_step(world_size, monkeypatch):
    """Padding does not count; the gradient is that of the sum over valid tokens divided by all positions."""
    model, logged = small_task(), {}
    other = torch.tensor([7.0, 3.0], dtype=torch.float64)  # sum and tokens of another rank
    strategy = SimpleNamespace(reduce=lambda sums, reduce_op: sums + other)
    trainer = SimpleNamespace(
        accumulate_grad_batches=2,
        world_size=world_size,
        global_step=0,
        strategy=strategy,
        log_every_n_steps=1,
        loggers=[],
        val_check_batch=1,
        fast_dev_run=False,
    )
    monkeypatch.setattr(DiffusionTask, "trainer", property(lambda self: trainer))
    monkeypatch.setattr(DiffusionTask, "global_step", property(lambda self: 0))
    monkeypatch.setattr(model, "log", lambda name, value, **options: logged.update({name: float(value)}))
    total, tokens = (7.0, 3) if world_size == 2 else (0.0, 0)
    for number, lengths in enumerate((torch.tensor([4, 1, 2]), torch.tensor([3, 1, 1]))):
        rows = torch.arange(3) + 3 * number
        valid_BL = torch.arange(4) < lengths[:, None]
        batch = TokenBatch(torch.arange(12).view(3, 4) % 5, rows, rows, rows, (rows + 0.5) / 6, valid_BL, None, 1, 0)
        model.on_train_batch_start(batch, number)
        loss = model.training_step(batch, number)
        torch.manual_seed(batch.seed)
        noised = model.objective.corrupt(model.process, batch)
        losses_BL = model.objective(model.process, model.backbone, noised).tokens_N.view(3, 4).detach()
        assert float(loss.detach()) == pytest.approx(float(losses_BL[valid_BL].sum()) / 12)
        total, tokens = total + float(losses_BL[valid_BL].sum()), tokens + int(lengths.sum())
        model.on_train_batch_end(None, batch, number)
    assert logged == {"loss/train": pytest.approx(total / tokens)}


# Half precision.


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_fused_optimizers_are_clipped_under_mixed_precision(clip):
    """Lightning refuses this. With and without a gradient scale, the step is that of clipped gradients."""
    found = []
    for fused, plugin in ((False, None), (True, None), (True, "bf16-mixed"), (True, "16-mixed")):
        model = small_task(seed=0)
        parameters = list(model.backbone.parameters())
        optimizer = torch.optim.SGD(parameters, lr=1.0, fused=fused)
        scaler = torch.amp.GradScaler("cpu") if plugin == "16-mixed" else None
        model._trainer = SimpleNamespace(
            precision_plugin=MixedPrecision(plugin, "cpu", scaler) if plugin else Precision(),
            gradient_clip_val=clip,
            gradient_clip_algorithm=None,
        )
        loss = sum(parameter.cos().sum() + parameter.sum() for parameter in parameters)
        (scaler.scale(loss) if scaler else loss).backward()
        before = torch.cat([parameter.detach().flatten() for parameter in parameters])
        model.configure_gradient_clipping(optimizer, clip, None)
        if scaler:
            scaler.step(optimizer)
        else:
            optimizer.step()
        found.append(before - torch.cat([parameter.detach().flatten() for parameter in parameters]))
    if clip:
        assert found[0].norm() == pytest.approx(clip, rel=1e-3)
    for step in found[1:]:
        torch.testing.assert_close(step, found[0])


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile asks for it
@pytest.mark.parametrize("compiled", [False, True])
def test_a_trained_module_can_be_copied_and_pickled(compiled, monkeypatch):
    """Callbacks that average weights and strategies that start processes do so."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # fast, equal wrappers
    parser = UddmParser()
    parser.add_argument("--optimizer", type=OptimizerCallable)
    given = parser.parse_object({"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}})
    model = small_task(optimizer=parser.instantiate(given).optimizer).train()
    if compiled:
        model.backbone.compile()
        model.process.compile()
    rows_B = torch.arange(4)
    batch = TokenBatch(torch.randint(5, (4, 3)), rows_B, rows_B, rows_B, rows_B.double() / 4, None, None, 0, 0)
    model.objective(model.process, model.backbone, model.objective.corrupt(model.process, batch)).total.backward()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 written by this test
        for name, value in model.state_dict().items():
            assert torch.equal(copied.state_dict()[name], value)
        optimizer = copied.make_optimizer(copied.backbone.parameters())
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.param_groups[0]["lr"] == 0.5
        copied.objective(copied.process, copied.backbone, copied.objective.corrupt(copied.process, batch))
