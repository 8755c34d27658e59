"""A training step of the quickstart through `uddm fit`, against the same network in a bare PyTorch loop.

Shapes: B rows, L positions, V ids.
"""

import contextlib
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.benchmarks import dense
from tests.benchmarks.timing import Seconds
from uddm_lightning.backbones import DiT
from uddm_lightning.cli.lightning import run_lightning

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
V, B, L, T_MIN, STEPS, WARM_UP = 27, 32, 32, 0.05, 200, 20
TOKENS = B * L


PROBES = ("recovery", "entropy", "nelbo", "basin", "trajectory", "samples")  # disabled: only steps are timed


class StepTimes(Callback):
    """Record the end time of each training step."""

    ends: list[float]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        StepTimes.ends = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())


def fit(backbone: tuple[str, ...] = ()) -> Seconds:
    """Return the median step of `uddm fit` on the quickstart, with keyed data, averaging, logging and progress bar."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            *("fit", "-c", str(CONFIG), "--out", folder),
            *("--trainer.max_steps", str(STEPS), "--trainer.val_check_interval", str(STEPS)),
            *(word for probe in PROBES for word in (f"--{probe}.enabled", "false")),
            *("--trainer.callbacks+", f"{__name__}.StepTimes", *backbone),
        ]
        quiet = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
        with quiet[0], quiet[1], one_thread():
            run_lightning(arguments)
    return median_step(StepTimes.ends)


def bare(dropout: float = 0.0) -> Seconds:
    """Return the median step of a plain loop: batch, noise, loss, gradient, clipping, AdamW."""
    with one_thread():
        return _bare(dropout)


def _bare(dropout: float) -> Seconds:
    torch.manual_seed(0)
    network = DiT(V, hidden_size=64, n_blocks=2, n_heads=4, dropout=dropout, embedding_init_std=0.2, gate_init=1.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    rows_NL = torch.randint(V, (8192, L))
    ends = []
    for _ in range(STEPS):
        x0_BL = rows_NL[torch.randint(len(rows_NL), (B,))]
        alpha_B = 1 - (1 - 1e-3) * (T_MIN + (1 - T_MIN) * torch.rand(B))
        xt_BL = torch.where(torch.rand(B, L) < alpha_B[:, None], x0_BL, torch.randint(V, (B, L)))
        logits_BLV = network.head(network(xt_BL, -alpha_B.log()))
        loss = dense.nelbo(logits_BLV, x0_BL, xt_BL, alpha_B, torch.full((B,), -(1 - 1e-3))).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        ends.append(time.perf_counter())
    return median_step(ends)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread, as the quickstart does, and no log messages."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(before)


def median_step(ends: list[float]) -> Seconds:
    """Return the median time between the ends of two steps, without the first few."""
    return Seconds(statistics.median(later - earlier for earlier, later in pairwise(ends[WARM_UP:])))
