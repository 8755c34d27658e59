"""Training steps by `uddm fit` and by bare loops, at the sizes of a GPU, on made-up text that needs no download.

Shapes: B rows, L positions, V ids.
"""

import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.benchmarks import loop
from tests.benchmarks.paths import Setting
from tests.benchmarks.timing import StepClock
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

ROOT = Path(__file__).parents[2]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROWS = 4096  # rows of made-up text
STEPS, WARM_UP = 40, 12  # of a model on 512 rows; the first steps compile


def on(device: torch.device) -> tuple[str, ...]:
    """Return the options that train on a device."""
    return "--trainer.accelerator", "gpu" if device.type == "cuda" else "cpu", "--trainer.devices", "1"


def on_long(device: torch.device) -> tuple[str, ...]:
    """Return the options that train on a device as a long run does, which is compiled on CUDA by default."""
    return (*on(device), *(("--model.compile", "true") if device.type == "cuda" else ()))


def quickstart(device: torch.device, toy: bool) -> Iterator[tuple[str, list[float]]]:
    """Yield the steps of the quickstart by `uddm fit` and by a plain loop."""
    with loop.one_thread():
        steps = 40 if toy else loop.STEPS
        yield "ours, uddm fit", loop.fit_steps("quickstart", on_long(device), steps)[loop.WARM_UP :]
        same = (*on_long(device), *loop.SAME)
        yield "ours, uddm fit, NELBO with AdamW", loop.fit_steps("quickstart", same, steps)[loop.WARM_UP :]
        yield "textbook, eager", loop.bare_steps(0.0, device)[loop.WARM_UP :]


def tiny(setting: Setting, folder: str, toy: bool) -> Iterator[tuple[str, list[float], int | None]]:
    """Yield the steps and the peak memory of the paper's tiny model by `uddm fit` and by a bare compiled loop."""
    os.environ["UDDM_CACHE"] = f"{folder}/cache"  # the text is prepared once
    options = (*write_text(setting, Path(folder), 64 if toy else ROWS), *on_long(setting.device))
    if toy:
        network = {"hidden_size": setting.hidden_size, "n_blocks": setting.blocks, "n_heads": setting.heads}
        for name, value in network.items():
            options += (f"--model.backbone.init_args.{name}", str(value))
    plain = ("--model.objective", "NELBO", "--model.objective.init_args.t_min", "0.001")
    for side, more in (("ours, uddm fit, NELBO", plain), ("ours, uddm fit, curriculum", ())):
        reset_peak(setting.device)
        steps = loop.fit_steps("paper/lm1b_tiny", (*options, *more), STEPS)
        yield side, steps[WARM_UP:], peak(setting.device)
    reset_peak(setting.device)
    yield "bare loop, compiled, NELBO", bare(setting)[WARM_UP:], peak(setting.device)


def write_text(setting: Setting, folder: Path, rows: int) -> tuple[str, ...]:
    """Write a vocabulary of V made-up words and a text of them, and return the options that read them."""
    words = ["".join(chr(ord("a") + place // 26**digit % 26) for digit in range(4)) for place in range(setting.V)]
    vocabulary = [*SPECIAL, *words[len(SPECIAL) :]]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    choose = random.Random(0)  # noqa: S311 no secret is made here
    lines = (" ".join(choose.choices(vocabulary[len(SPECIAL) :], k=setting.L - 2)) for _ in range(rows))
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return (
        *("--data.source", "TextFiles", "--data.source.init_args.paths", str(folder / "text.txt")),
        *("--data.tokenizer.init_args.path", str(folder / "vocab.txt")),
        *("--data.packing.init_args.length", str(setting.L), "--data.batch_size", str(setting.B)),
        *("--data.num_train_rows", "16", "--data.num_test_rows", "16"),
        *("--data.num_sample_rows", "16", "--data.num_random_rows", "16"),
        *("--trainer.precision", "bf16-mixed", "--trainer.log_every_n_steps", str(STEPS)),
    )


def bare(setting: Setting) -> list[float]:
    """Return the steps of a plain loop with the package's compiled network and loss: batch, noise, loss, AdamW."""
    process, net, objective = UniformProcess(setting.V, LogLinearSchedule()), setting.network(), NELBO()
    process.compile()
    net.compile()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4, fused=True)
    rows_NL = torch.randint(setting.V, (ROWS, setting.L), device=setting.device)
    clock = StepClock(setting.device)
    for step in range(STEPS):
        ids_B = torch.randint(ROWS, (setting.B,), device=setting.device)
        t_B = 1e-3 + (1 - 1e-3) * torch.rand(setting.B, dtype=torch.float64, device=setting.device)
        noised = process.corrupt(rows_NL[ids_B], t_B, ids_B + ROWS * step)
        with setting.cast():
            total = objective(process, net, noised).total
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.tick()
    return clock.steps()


def sweep(device: torch.device, toy: bool) -> float:
    """Return the seconds of `uddm sweep -c quickstart`."""
    small = ("--sizes", "2,4", "--trainer.max_steps", "20", "--trainer.val_check_interval", "20")
    off = [word for probe in loop.PROBES[2:] for word in (f"--{probe}.enabled", "false")]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "uddm_lightning", "sweep", "-c", "quickstart", "--out", f"{folder}/sweep"]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, *on(device), *((*small, *off) if toy else ())], cwd=ROOT, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"uddm sweep ended with status {done.returncode}: {done.stderr.strip()[-150:]}")
    return seconds


def reset_peak(device: torch.device) -> None:
    """Start to record the peak memory of a device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> int | None:
    """Return the peak memory since `reset_peak`; None without a GPU."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else None
