"""The base class of launchers."""

import pytest

from tests.support.fake_launcher import FakeLauncher
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.launchers.base import Launcher


def test_a_launcher_needs_a_place_to_run() -> None:
    launcher: Launcher = FakeLauncher(jobs=2)
    launcher.check_available()
    assert launcher.jobs == 2
    assert (launcher.on_cpu("cpu"), launcher.on_cpu("auto")) == (True, False)
    with pytest.raises(InputError, match=r"`--jobs` must be at least 1, got 0"):
        FakeLauncher(jobs=0)
