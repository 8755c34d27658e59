"""The probe of the NELBO: its range of noise levels."""

from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.probes import NelboProbe


def test_the_range_of_a_nelbo_is_checked():
    for name in ("t_min", "t_max"):
        for value in (0.0, 1.5):
            with pytest.raises(ValueError, match=rf"`nelbo\.{name}` must be in \(0, 1\], got {value}"):
                NelboProbe(**{name: value})
    with pytest.raises(ValueError, match=r"`nelbo\.times_per_row` must be at least 1, got 0"):
        NelboProbe(times_per_row=0)


def task_of(t_min: float = 0.05, t_max: float = 1.0, parameters: int = 1) -> Any:
    return SimpleNamespace(objective=SimpleNamespace(t_min=t_min, t_max=t_max), parameter_count=parameters)


def test_a_nelbo_is_measured_on_the_trained_range_and_marked_beyond_it():
    assert NelboProbe().ranges(task_of()) == {"nelbo": (0.05, 1.0)}
    assert NelboProbe(t_min=0.2).ranges(task_of()) == {"nelbo": (0.2, 1.0)}
    assert NelboProbe(t_min=0.05).ranges(task_of()) == {"nelbo": (0.05, 1.0)}
    wider = NelboProbe(t_min=0.001)
    assert wider.ranges(task_of()) == {"nelbo": (0.05, 1.0), "nelbo_extrapolated": (0.001, 1.0)}
    assert wider.ranges(task_of(0.001)) == {"nelbo": (0.001, 1.0)}
    assert NelboProbe(t_max=0.9).ranges(task_of(t_max=0.8))["nelbo_extrapolated"] == (0.05, 0.9)
    assert wider.ranges(task_of(parameters=0)) == {"nelbo": (0.001, 1.0)}, (
        "a backbone without parameters has no trained range"
    )
    with pytest.raises(InputError, match=r"got 0\.05 and 0\.01; what is not given is the range of training, 0\.05"):
        NelboProbe(t_max=0.01).ranges(task_of())
