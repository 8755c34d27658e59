"""A small corpus, a small config, and the output of the command line."""

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

WORDS = ("the", "of", "and", "to", "we", "our", "people", "congress", "war", "peace", "law", "year", "public", "great")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def write_corpus(path: Path) -> Path:
    """Write 300 lines of short words."""
    generator = random.Random(0)  # noqa: S311 no secret is made here
    path.write_text("\n".join(" ".join(generator.choices(WORDS, k=12)) for _ in range(300)) + "\n", encoding="utf-8")
    return path


def tiny_config(corpus: Path, on_the_way: bool = False) -> dict:
    """Return the config of a run of six steps with two validations.

    Args:
        corpus: text file.
        on_the_way: measure at the first validation, too, which takes a third of the time of a run.
    """
    rows = {} if on_the_way else {"num_rows_during_training": 0}
    return {
        "seed_everything": 0,
        "threads": 1,
        "data": {
            "source": {"class_path": "TextFiles", "init_args": {"paths": str(corpus)}},
            "tokenizer": {"class_path": "CharacterTokenizer"},
            "packing": {"class_path": "WrappedPacking", "init_args": {"length": 16}},
            "train_size": 8,
            "batch_size": 8,
            "eval_batch_size": 8,
            "num_train_rows": 16,
            "num_test_rows": 16,
            "num_sample_rows": 16,
            "num_random_rows": 16,
        },
        "model": {
            "process": {
                "class_path": "UniformProcess",
                "init_args": {"schedule": {"class_path": "LogLinearSchedule"}},
            },
            "backbone": {
                "class_path": "DiT",
                "init_args": {"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "cond_dim": 8, "dropout": 0.1},
            },
            "objective": {"class_path": "NELBO", "init_args": {"t_min": 0.02}},
            "sampler": {"class_path": "AncestralSampler", "init_args": {"steps": 10}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "lr_schedule": {"class_path": "WarmupConstant", "init_args": {"warmup_steps": 2}},
        },
        "recovery": {"times": [0.1, 0.5], **rows},
        "entropy": {"times": [0.1, 0.5], **rows},
        "nelbo": {"times_per_row": 2, **rows},
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 6,
            "val_check_interval": 3,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def check(outcome, *needles: str) -> None:
    assert outcome.status == 2, outcome.err
    assert outcome.err.startswith("uddm: error: ") or "\nuddm: error: " in outcome.err
    message = outcome.err[outcome.err.index("uddm: error: ") :]
    assert len(message.strip().splitlines()) == 1, message
    assert len(message) < 900, message
    assert "Traceback" not in outcome.err
    for needle in needles:
        assert needle in message, message


OFF = tuple(
    word
    for kind in ("recovery", "entropy", "nelbo", "trajectory", "basin", "samples")
    for word in (f"--{kind}.enabled", "false")
)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def saved(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


MARKOV = {
    "source": {"class_path": "MarkovSource", "init_args": {"alphabet": "abcdef", "num_documents": 400, "length": 16}},
    "tokenizer": {"class_path": "CharacterTokenizer", "init_args": {"alphabet": "fedcba"}},
}


def table(run: Path) -> list[dict[str, str]]:
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def anonymous_table(run: Path) -> list[dict[str, str]]:
    """Return the table without the run's name, to compare the tables of two runs."""
    return [{**row, "run": ""} for row in table(run)]


def select(rows: list[dict[str, str]], kind: str, split: str) -> list[dict[str, str]]:
    return [row for row in rows if row["metric"] == kind and row["split"] == split]


def measure_oracle(
    uddm: Callable[..., Outcome], config: Path, out: Path, backbone: str, *options: object
) -> list[dict[str, str]]:
    """Run `uddm validate` with a backbone that is not trained and return its table."""
    outcome = uddm("validate", "-c", config, "--model.backbone", backbone, "--out", out, *options)
    assert outcome.status == 0, outcome.err
    rows = table(out)
    assert {(row["backbone"], row["parameters"], row["step"]) for row in rows} == {(backbone, "0", "0")}
    return rows
