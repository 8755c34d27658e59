"""The config of the tests of callbacks, which act at every validation."""

from pathlib import Path

import pytest


@pytest.fixture
def config(config_on_the_way: Path) -> Path:
    return config_on_the_way
