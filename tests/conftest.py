"""One thread for every process of the tests: pytest-xdist already uses the cores, and results repeat."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for the processes that tests start

import pytest
import torch

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bars are slow, too, so that `-m "not slow"` leaves them out."""
    for item in items:
        if item.get_closest_marker("bar"):
            item.add_marker("slow")
