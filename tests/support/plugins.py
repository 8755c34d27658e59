"""Find and instantiate every plugin of the package."""

import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest


def plugins(base: type) -> list[type]:
    """Return every concrete subclass of `base` in the package of the base."""
    package = importlib.import_module(".".join(base.__module__.split(".")[:2]))
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not info.name.endswith("_triton") or importlib.util.find_spec("triton"):  # Triton is for Linux only
            importlib.import_module(info.name)
    prefix = package.__name__ + "."  # others, such as networks of another library, have tests of their own
    found: list[type] = []
    waiting = [base]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            if child.__module__.startswith(prefix) and not inspect.isabstract(child) and child not in found:
                found.append(child)
    return sorted(found, key=lambda child: child.__qualname__)


# Arguments of classes that require more than their base.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "DiT": [{"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "cond_dim": 8, "gate_init": 1.0}],
    "GiddTransformer": [
        {"hidden_size": 16, "n_blocks": 2, "n_heads": 2, "mlp_size": 24},
        {"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "mlp_size": 8, "attention_bias": True, "tied": True},
    ],
    "HollowTransformer": [
        {"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "cond_dim": 8, "window": 2},
        {"hidden_size": 16, "n_blocks": 2, "n_heads": 1, "cond_dim": 8, "window": 9, "mlp_ratio": 1},
    ],
    "AncestralSampler": [
        {},
        {"decoding": "argmax"},
        {"clamp": True},
        {"noise_removal": "argmax"},
        {"temperature": 0.5},
    ],
    "PredictorCorrectorSampler": [{}, {"corrections": 3, "clamp": True}],
    "SpinDynamics": [{}, {"order": "sequential"}, {"temperature": 0.5}, {"temperature": 1.0, "order": "sequential"}],
    "PseudoLikelihoodMemory": [
        {"length": 7},
        {"length": 7, "symmetric": True},
    ],  # rows of `tests/backbones/test_base.py`
    "HybridProcess": [{}, {"p_uniform": 0.6}, {"p_uniform": 0.0}],
    "WarmupLinear": [{}, {"min_lr_ratio": 0.1}],
}


def cases(base: type) -> list[Any]:
    found = plugins(base)
    assert found, f"no plugin under {base.__name__}"
    return [
        pytest.param(
            cls, options, id=cls.__name__ + "".join(f"-{k}={v}" for k, v in options.items() if len(options) < 3)
        )
        for cls in found
        for options in OPTIONS.get(cls.__name__, [{}])
    ]


def make(cls: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return cls(*args, **options)
    except TypeError as error:
        pytest.fail(f"{cls} needs a line in OPTIONS of {__file__}: {error}")
