"""Settings of a sweep over any text, chosen from the text and the machine, each with its reason."""

import os
import time
from typing import Any, NamedTuple

import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.text_survey import TextSurvey
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.text_tokens import choose_tokens

MANY_DOCUMENTS = 100
SHORT_TEXT, LONG_TEXT = 16_384, 4_000_000  # tokens: rows are shorter below, and may be longer above
SMALLEST_END, END, LARGE_END = 8, 8192, 32_768  # rows of the largest size
MANY_CORES = 8
MINUTES = 8  # of training and measuring, so that the verdict comes within ten minutes
START = 15.0  # seconds of a run before its first step
MEASURING = 2000  # training steps that take as long as the measurements of a run
FEWEST_STEPS, ENOUGH_STEPS, MOST_STEPS = 500, 2000, 3000
POINTS = 5  # validations of a run, so that TensorBoard shows curves; all but the last measure few rows
BATCH_TOKENS, HIDDEN_SIZE, BLOCK_PARAMETERS = 1024, 64, 98_304  # of the quickstart, whose network is trained
EFFICIENCY = 0.18  # share of the speed of matrix products that its training reaches on one core


class Machine(NamedTuple):
    """What a sweep runs on.

    Attributes:
        cores: cores of the process.
        has_gpu: whether PyTorch finds a GPU.
        speed: floating-point operations per second of matrix products on one core.
    """

    cores: int
    has_gpu: bool
    speed: float

    @classmethod
    def here(cls) -> "Machine":
        """Return the properties of this machine; takes less than a second."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads, seconds = torch.get_num_threads(), []
        torch.set_num_threads(1)
        left, right = torch.ones(BATCH_TOKENS, HIDDEN_SIZE), torch.ones(HIDDEN_SIZE, 4 * HIDDEN_SIZE)
        for _ in range(100):
            start = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - start)
        torch.set_num_threads(threads)
        return cls(cores, torch.cuda.is_available(), 2 * left.numel() * right.shape[1] / min(seconds))

    @property
    def is_fast(self) -> bool:
        """Whether it has a GPU or many cores."""
        return self.has_gpu or self.cores >= MANY_CORES


class Choices(NamedTuple):
    """Settings of a sweep.

    Attributes:
        config: the config to lay over the quickstart.
        sizes: value of `--sizes`.
        reasons: each choice by name, with its reason.
    """

    config: dict[str, Any]
    sizes: str
    reasons: dict[str, str]


def choose(survey: TextSurvey, paths: list[str], machine: Machine) -> Choices:
    """Return settings for a text on a machine.

    Args:
        survey: counts of the text.
        paths: its files and patterns.
        machine: the machine.

    Raises:
        InputError: the text is too short.
    """
    tokens = choose_tokens(survey)
    unit, why_unit = _document(survey)
    length, why_length = _length(tokens.length, machine)
    rows = int(0.9 * tokens.length / length)
    if rows < SMALLEST_END:
        raise InputError(
            f"`--text {' '.join(paths)}` gives about {rows} training rows of {length} tokens, and a sweep needs at "
            f"least {SMALLEST_END}; use more text."
        )
    limit = LARGE_END if machine.is_fast else END
    end = max(2 * 4**k for k in range(1, 8) if 2 * 4**k <= min(rows, limit))
    why_end = "about as many as the text has" if 4 * end > rows else "more rows need more training"
    step = 6 * BATCH_TOKENS * (BLOCK_PARAMETERS + HIDDEN_SIZE * tokens.vocab_size) / (EFFICIENCY * machine.speed)
    text_of_sizes, number, steps = _sizes_and_steps(end, step, machine)
    minutes = _waves(number, machine) * (START + (steps + MEASURING) * step) / 60
    why_steps = (
        "the machine has a GPU"
        if machine.has_gpu
        else f"about {max(1, round(minutes))} minutes in all on {machine.cores} core(s), at {1000 * step:.0f} ms a step"
    )
    more = "" if survey.is_whole else "more than "
    counts = f"{survey.files:,} file(s), {survey.lines:,} lines, {more}{survey.characters:,} characters"
    reasons = {
        "text": f"{' '.join(paths)}: {counts}",
        "documents": why_unit,
        "tokens": tokens.reason,
        "rows": why_length,
        "sizes": f"{text_of_sizes.partition(',')[0]}, {number} in all; the largest is {end:,}: {why_end}",
        "steps": f"{steps:,} for each size: {why_steps}",
    }
    source = {"paths": paths, "document": unit, "any_file": True}
    config = {
        "data": {
            "source": {"class_path": "TextFiles", "init_args": source},
            "tokenizer": tokens.spec,
            "packing": {"class_path": "WrappedPacking", "init_args": {"length": length}},
            "train_size": end,
            "batch_size": BATCH_TOKENS // length,
        },
        "recovery": {"num_reference_rows": 2048},
        "basin": {"enabled": False},  # as long as all other measurements
        "trainer": {
            "accelerator": "gpu" if machine.has_gpu else "cpu",
            "max_steps": steps,
            "val_check_interval": steps // POINTS,
        },
    }
    return Choices(config, text_of_sizes, reasons)


def _document(survey: TextSurvey) -> tuple[str, str]:
    """Return the largest unit of which there are many, and the reason."""
    found = {"file": survey.files, "paragraph": survey.paragraphs, "line": survey.lines}
    unit = next((name for name, number in found.items() if number >= MANY_DOCUMENTS), "line")
    why = "the largest unit of which there are many" if found[unit] >= MANY_DOCUMENTS else "the smallest unit"
    return unit, f"each {unit}, {found[unit]:,} in all, {why}; a tenth of them is held out as test text"


def _length(tokens: int, machine: Machine) -> tuple[int, str]:
    if tokens < SHORT_TEXT:
        return 16, f"16 tokens: the text has only about {tokens:,}"
    if tokens >= LONG_TEXT and machine.is_fast:
        return 64, "64 tokens: the text is long and the machine is fast"
    return 32, "32 tokens, as in the quickstart"


def _sizes_and_steps(end: int, step: float, machine: Machine) -> tuple[str, int, int]:
    """Return the value of `--sizes`, the number of sizes, and the steps of each that the time allows."""
    for factor in (4, 8):  # fewer sizes leave more time for each
        text = f"2:{end}:x{factor},{end}"
        number = len(sizes.parse(text, int))
        allowed = (60 * MINUTES / _waves(number, machine) - START) / step - MEASURING
        if allowed >= ENOUGH_STEPS:
            break
    steps = MOST_STEPS if machine.has_gpu else int(min(max(allowed, FEWEST_STEPS), MOST_STEPS))
    return text, number, steps // 100 * 100


def _waves(number: int, machine: Machine) -> int:
    """Return how many runs a core trains one after another."""
    return -(-number // machine.cores)
