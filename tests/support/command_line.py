"""A small corpus, a small config, and what the command line answers."""

import random
from pathlib import Path
from typing import NamedTuple

WORDS = ("the", "of", "and", "to", "we", "our", "people", "congress", "war", "peace", "law", "year", "public", "great")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def write_corpus(path: Path) -> Path:
    """300 lines of small words."""
    generator = random.Random(0)  # noqa: S311 no secret is made here
    path.write_text("\n".join(" ".join(generator.choices(WORDS, k=12)) for _ in range(300)) + "\n", encoding="utf-8")
    return path


def tiny_config(corpus: Path) -> dict:
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
        "recovery": {"times": [0.1, 0.5]},
        "entropy": {"times": [0.1, 0.5]},
        "nelbo": {"times_per_row": 2},
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
