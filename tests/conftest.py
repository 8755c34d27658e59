"""One thread for every process of the tests: pytest-xdist already uses the cores, and results repeat."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for the processes that tests start

import torch

torch.set_num_threads(1)
