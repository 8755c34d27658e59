"""What holds for every process of the tests: one thread, no network, no traces in the home folder.

Set before torch and the hub's libraries are imported, whichever test comes first, and for the processes of tests.
"""

import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # pytest-xdist already uses the cores, and results repeat
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="uddm-tests-")

import pytest
import torch

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bars are slow, too, so that `-m "not slow"` leaves them out."""
    for item in items:
        if item.get_closest_marker("bar"):
            item.add_marker("slow")
