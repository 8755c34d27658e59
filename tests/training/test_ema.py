"""The exponential moving average of the weights."""

import pytest
import torch

from tests.support.tasks import small_network, small_task
from uddm_lightning.training.ema import ExponentialMovingAverage


def test_the_average_follows_the_weights_with_warm_up():
    network = small_network().double()
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
    average = ExponentialMovingAverage(small_network(), decay=0.9).train()
    assert not any(module.training for module in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_named(decay):
    with pytest.raises(ValueError, match=rf"`ema_decay` must be in \[0, 1\), got {decay}"):
        ExponentialMovingAverage(small_network(), decay)


HALF = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("born", [True, False], ids=["born-half", "made-half"])
def test_the_average_of_half_precision_weights_does_not_freeze(dtype, born):
    network = small_network().to(dtype) if born else small_network()
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
    average = ExponentialMovingAverage(small_network().to(first), decay=0.9)
    assert {value.dtype for value in average.parameters()} == {first}
    assert {value.dtype for value in average.to(then).parameters()} == {torch.float64}


def test_a_checkpoint_of_half_precision_keeps_the_average_exactly_and_takes_old_ones():
    half = small_task().to(torch.bfloat16)
    with torch.no_grad():
        for value in half.ema.parameters():
            value.add_(torch.rand_like(value))
    state = half.state_dict()
    other = small_task(seed=1).to(torch.bfloat16)
    other.load_state_dict(state)
    for name, value in other.ema.state_dict().items():
        assert torch.equal(value, state[f"ema.{name}"])
    old = {name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in state.items()}
    other.load_state_dict(old)
    assert {value.dtype for value in other.ema.parameters()} == {torch.float32}
