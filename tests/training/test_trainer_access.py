"""Typed access to a trainer."""

from types import SimpleNamespace

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.training.trainer_access import data_of


def test_measuring_needs_this_package_s_data():
    with pytest.raises(InputError, match="Measuring needs a `TextDataModule` or a subclass, got `NoneType`"):
        data_of(SimpleNamespace())
