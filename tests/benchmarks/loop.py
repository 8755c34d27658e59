"""A training step of the quickstart's network through `uddm fit`, against the same network in a bare PyTorch loop.

Shapes: B rows, L positions, V ids.
"""

import contextlib
import io
import logging
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.benchmarks import dense
from tests.benchmarks.timing import Seconds, StepClock
from uddm_lightning.backbones import DiT
from uddm_lightning.cli.lightning import run_lightning
from uddm_lightning.config.config_files import find_config_options

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
V, B, L, T_MIN, STEPS, WARM_UP = 27, 32, 32, 0.05, 200, 20
TOKENS = B * L


# the loss and the optimizer of the plain loop, so that only the work around them differs
ADAMW = "--model.optimizer.init_args"
SAME = (
    *("--model.objective", "NELBO", "--model.objective.init_args.t_min", str(T_MIN)),
    *("--model.optimizer", "torch.optim.AdamW", f"{ADAMW}.lr", "2e-3", f"{ADAMW}.betas", "[0.9, 0.99]"),
    *(f"{ADAMW}.weight_decay", "0.0", f"{ADAMW}.fused", "true"),
)
PROBES = ("recovery", "entropy", "nelbo", "basin", "trajectory", "samples")  # disabled: only steps are timed


class StepTimes(Callback):
    """Record the end of each training step."""

    clock: StepClock

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        StepTimes.clock = StepClock(pl_module.device)

    def on_train_batch_end(self, *_: object) -> None:
        self.clock.tick()


def fit(backbone: tuple[str, ...] = ()) -> Seconds:
    """Return the median step of `uddm fit` on the quickstart, with keyed data, averaging, logging and progress bar.

    Objective and optimizer are those of the plain loop.
    """
    with one_thread():
        return Seconds(statistics.median(fit_steps(str(CONFIG), (*SAME, *backbone), STEPS)[WARM_UP:]))


def fit_steps(config: str, options: Sequence[str], steps: int) -> list[float]:
    """Return the seconds of the steps of `uddm fit`, without measurements.

    Args:
        config: name or path of the config.
        options: other options.
        steps: number of optimizer steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            *("fit", "-c", config, *options, "--out", folder),
            *("--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)),
            *(word for probe in PROBES for word in (f"--{probe}.enabled", "false")),
            *("--trainer.callbacks+", f"{__name__}.StepTimes"),
        ]
        quiet = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
        with quiet[0], quiet[1]:
            run_lightning(find_config_options(arguments))
    return StepTimes.clock.steps()


def bare(dropout: float = 0.0) -> Seconds:
    """Return the median step of a plain loop: batch, noise, loss, gradient, clipping, AdamW."""
    with one_thread():
        return Seconds(statistics.median(bare_steps(dropout, torch.device("cpu"))[WARM_UP:]))


def bare_steps(dropout: float, device: torch.device) -> list[float]:
    """Return the seconds of the steps of a plain loop on the quickstart's network."""
    torch.manual_seed(0)
    network = DiT(V, hidden_size=64, n_blocks=2, n_heads=4, dropout=dropout, embedding_init_std=0.2, gate_init=1.0).to(
        device
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    rows_NL = torch.randint(V, (8192, L), device=device)
    clock = StepClock(device)
    for _ in range(STEPS):
        x0_BL = rows_NL[torch.randint(len(rows_NL), (B,), device=device)]
        alpha_B = 1 - (1 - 1e-3) * (T_MIN + (1 - T_MIN) * torch.rand(B, device=device))
        xt_BL = torch.where(
            torch.rand(B, L, device=device) < alpha_B[:, None], x0_BL, torch.randint(V, (B, L), device=device)
        )
        logits_BLV = network.head(network(xt_BL, -alpha_B.log()))
        loss = dense.nelbo(logits_BLV, x0_BL, xt_BL, alpha_B, torch.full((B,), -(1 - 1e-3), device=device)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        clock.tick()
    return clock.steps()


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
