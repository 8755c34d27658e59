"""The moving average, the guard against broken losses, and the task's own checks."""

import copy
import pickle
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.plugins import MixedPrecision, Precision

from uddm_lightning.backbones import DiT
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.ema import ExponentialMovingAverage
from uddm_lightning.training.loss_guard import LossGuard, Watched
from uddm_lightning.training.lr_schedules import WarmupConstant
from uddm_lightning.training.task import DiffusionTask


def backbone(vocab_size: int = 5) -> DiT:
    return DiT(vocab_size, hidden_size=8, n_blocks=1, n_heads=2, cond_dim=4, dropout=0.5)


def task(**options: object) -> DiffusionTask:
    return DiffusionTask(
        vocab_size=5,
        process=partial(UniformProcess, schedule=LogLinearSchedule()),
        backbone=backbone,
        objective=NELBO(),
        sampler=AncestralSampler(steps=4),
        **{"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1.0), **options},
        lr_schedule=WarmupConstant(),
    )


def test_the_average_follows_the_weights_with_warm_up():
    network = backbone().double()
    average = ExponentialMovingAverage(network, decay=0.5)
    name, start = next((n, p.detach().clone()) for n, p in network.named_parameters())
    values, expected = [start + 1.0, start - 2.0, start + 5.0], start.numpy().copy()
    for finished, value in enumerate(values, 1):
        with torch.no_grad():
            dict(network.named_parameters())[name].copy_(value)
        average.update(network, finished)
        decay = min(0.5, (1 + finished) / (10 + finished))
        expected = decay * expected + (1 - decay) * value.numpy()
    assert dict(average.backbone.named_parameters())[name].numpy() == pytest.approx(expected, abs=1e-12)


def test_the_average_never_trains():
    average = ExponentialMovingAverage(backbone(), decay=0.9).train()
    assert not any(module.training for module in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_named(decay):
    with pytest.raises(ValueError, match=rf"`ema_decay` must be in \[0, 1\), got {decay}"):
        ExponentialMovingAverage(backbone(), decay)


def test_a_restoring_time_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"`predict_t` must be in \(0, 1\], got 0"):
        task(predict_t=0)


def test_the_seed_alone_decides_the_initial_weights():
    torch.manual_seed(1)
    first = task(seed=3)
    state = torch.random.get_rng_state()
    second = task(seed=3)
    assert torch.equal(state, torch.random.get_rng_state()), "the ambient generator is left alone"
    third = task(seed=4)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_parameters_are_counted_once():
    model = task()
    assert model.parameter_count == sum(p.numel() for p in backbone().parameters())


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_measured_weights_are_a_copy_that_does_not_drop(weights, dtype):
    model = task(eval_dtype=dtype).train()
    denoiser = model.denoiser(weights)
    assert not denoiser.backbone.training
    assert next(denoiser.backbone.parameters()).dtype is getattr(torch, dtype)
    assert model.backbone.training
    assert next(model.backbone.parameters()).dtype is torch.float32


def losses(*bad: int) -> torch.Tensor:
    loss_BL = torch.ones(4, 3)
    for row, value in zip(bad, (float("nan"), float("inf"), float("-inf")), strict=False):
        loss_BL[row, 1] = value
    return loss_BL


def test_the_guard_names_step_and_rows():
    guard = LossGuard()
    guard.watch(6, torch.tensor([10, 11, 12, 13]), losses())
    with pytest.raises(FloatingPointError, match=r"optimizer step 7 in the pool's rows \[11, 13\]"):
        guard.watch(7, torch.tensor([10, 11, 12, 13]), losses(1, 3))


def test_the_guard_waits_where_looking_costs_a_synchronisation():
    class OnDevice(torch.Tensor):
        @property
        def device(self):
            return SimpleNamespace(type="cuda")

    guard = LossGuard(patience=3)
    rows = torch.tensor([10, 11, 12, 13])
    guard.watch(1, rows, losses(2).as_subclass(OnDevice))
    guard.watch(2, rows, losses().as_subclass(OnDevice))
    with pytest.raises(FloatingPointError, match=r"step 1 in the pool's rows \[12\]"):
        guard.watch(3, rows, losses(0).as_subclass(OnDevice))
    guard.check()  # what was reported is forgotten


def test_nothing_is_saved_behind_a_broken_loss():
    model = task()
    model.guard.patience = 100
    model.guard.waiting.append(Watched(5, torch.tensor([7]), torch.tensor([False])))
    with pytest.raises(FloatingPointError, match="step 5"):
        model.on_save_checkpoint({})


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_logged_loss_is_per_valid_token_of_the_whole_step(world_size, monkeypatch):
    """Padding is no token; the gradient is still that of the sum over valid tokens by all positions."""
    model, logged = task(), {}
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

HALF = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("born", [True, False], ids=["born-half", "made-half"])
def test_the_average_of_half_precision_weights_does_not_freeze(dtype, born):
    network = backbone().to(dtype) if born else backbone()
    average = ExponentialMovingAverage(network, decay=0.9999)
    if not born:
        network, average = network.to(dtype), average.to(dtype)
    assert {value.dtype for value in average.parameters()} == {torch.float32}
    assert {value.dtype for value in network.parameters()} == {dtype}
    weight, mean = next(network.parameters()), next(average.backbone.parameters())
    expected = weight.detach().double()
    for finished in range(1, 400):
        with torch.no_grad():
            weight.add_(0.0078125)
        average.update(network, finished)
        decay = min(0.9999, (1 + finished) / (10 + finished))
        expected = decay * expected + (1 - decay) * weight.detach().double()
    torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("first", "then"), [(torch.float64, torch.bfloat16), (torch.float32, torch.float64)])
def test_the_average_is_otherwise_kept_in_the_type_of_the_weights(first, then):
    average = ExponentialMovingAverage(backbone().to(first), decay=0.9)
    assert {value.dtype for value in average.parameters()} == {first}
    assert {value.dtype for value in average.to(then).parameters()} == {torch.float64}


def test_a_checkpoint_of_half_precision_keeps_the_average_exactly_and_takes_old_ones():
    half = task().to(torch.bfloat16)
    with torch.no_grad():
        for value in half.ema.parameters():
            value.add_(torch.rand_like(value))
    state = half.state_dict()
    other = task(seed=1).to(torch.bfloat16)
    other.load_state_dict(state)
    for name, value in other.ema.state_dict().items():
        assert torch.equal(value, state[f"ema.{name}"])
    old = {name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in state.items()}
    other.load_state_dict(old)
    assert {value.dtype for value in other.ema.parameters()} == {torch.float32}


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_fused_optimizers_are_clipped_under_mixed_precision(clip):
    """What Lightning refuses; with a scale on the gradients as without one, the step is that of clipped gradients."""
    found = []
    for fused, plugin in ((False, None), (True, None), (True, "bf16-mixed"), (True, "16-mixed")):
        model = task(seed=0)
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
    """As callbacks do that average weights, and strategies that start processes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # the same wrappers in no time
    parser = UddmParser()
    parser.add_argument("--optimizer", type=OptimizerCallable)
    given = parser.parse_object({"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}})
    model = task(compile=compiled, optimizer=parser.instantiate(given).optimizer).train()
    rows_B = torch.arange(4)
    batch = TokenBatch(torch.randint(5, (4, 3)), rows_B, rows_B, rows_B, rows_B.double() / 4, None, None, 0, 0)
    model.objective(model.process, model.backbone, model.objective.corrupt(model.process, batch)).total.backward()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 it was written here
        for name, value in model.state_dict().items():
            assert torch.equal(copied.state_dict()[name], value)
        optimizer = copied.make_optimizer(copied.backbone.parameters())
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.param_groups[0]["lr"] == 0.5
        copied.objective(copied.process, copied.backbone, copied.objective.corrupt(copied.process, batch))
