"""Options of runs that are measured at many steps, for diagrams over steps and training rows."""

import json
from collections.abc import Sequence
from typing import Any

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.keys import flat
from uddm_lightning.core.errors import InputError
from uddm_lightning.results.reference import reference
from uddm_lightning.sweeps.options import value_of
from uddm_lightning.sweeps.sizes import Option, parse
from uddm_lightning.sweeps.variant import read_variant

STEPS = Option("--at-steps", "give a list such as 500,1000,2000 or a range such as 125:4000:x2 (each twice the last).")
ENDS = ("--trainer.max_steps", "--trainer.val_check_interval")
# Random rows, basins, samples and trajectories are in no diagram over steps.
LEFT_OUT = ("basin", "samples", "trajectory")


def at_steps_options(text: str, keep_checkpoints: bool, files: list[str], options: list[str]) -> list[str]:
    """Return the options of `uddm fit` that train to the last step and measure at every given one.

    Measured are recovery and entropy at the t nearest to 0.1, and the NELBO, at each step on as many rows as at the
    last one. Options of the user override this.

    Args:
        text: value of `--at-steps`.
        keep_checkpoints: keep the weights of every step.
        files: options that name the configs.
        options: further options of the user.

    Raises:
        InputError: the text is no list of steps, the config is wrong, or the options set the number of steps, too.
    """
    for option in ENDS:
        if (value := value_of(options, option)) is not None:
            raise InputError(f"`{option} {value}` is set by `--at-steps {text}`; give one of the two.")
    steps = parse(text, lambda step: _whole(step, text), STEPS)
    config = resolve([*files, *options]).values
    words: dict[str, Any] = {
        "data.num_random_rows": 0,
        "trainer.max_steps": steps[-1],
        "trainer.val_check_interval": steps[-1] * config["trainer"]["accumulate_grad_batches"],
        **{f"{kind}.enabled": False for kind in LEFT_OUT},
        **{f"{kind}.num_rows_during_training": None for kind in ("recovery", "entropy", "nelbo")},
        **{f"{kind}.times": [reference(config[kind]["times"])] for kind in ("recovery", "entropy")},
        "trainer.callbacks+": "ValidationSteps",
        "trainer.callbacks.steps": steps,
    }
    callbacks: list[tuple[str, Any]] = []
    if keep_checkpoints:
        callbacks = [
            ("trainer.callbacks+", "lightning.pytorch.callbacks.ModelCheckpoint"),
            ("trainer.callbacks.filename", "step{step}"),
            ("trainer.callbacks.auto_insert_metric_name", False),
            ("trainer.callbacks.save_top_k", -1),
            ("trainer.callbacks.every_n_epochs", 1),  # with the next one: after each validation
            ("trainer.callbacks.save_on_train_epoch_end", False),
            ("trainer.callbacks.save_weights_only", True),
        ]
    return [word for key, value in (*words.items(), *callbacks) for word in (f"--{key}", _word(value))]


def check_variants(text: str, variants: Sequence[str]) -> None:
    """Refuse variants that set the number of steps, too.

    Args:
        text: value of `--at-steps`.
        variants: texts of `--variant`.

    Raises:
        InputError: there is one.
    """
    for variant in variants:
        for key, _ in flat(read_variant(variant)[1]):
            if f"--{key}" in ENDS:
                raise InputError(f"`--variant {variant}`: `{key}` is set by `--at-steps {text}` for all models.")


def _whole(step: int | float, text: str) -> int:
    if isinstance(step, float) or step < 1:
        raise InputError(f"`--at-steps {text}`: {step} is no number of steps; {STEPS.way_out}")
    return step


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
