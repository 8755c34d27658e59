"""The checkpoints of a sweep with their regimes, as their measurements of recovery tell."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from uddm_lightning.core.errors import InputError
from uddm_lightning.results.parquet import read_parquet, with_run_columns
from uddm_lightning.results.tables import read_table
from uddm_lightning.runs import checkpoints
from uddm_lightning.sweeps.collect import run_folders
from uddm_lightning.transition import estimate


class JudgedModel(NamedTuple):
    """A checkpoint whose regime is known from recovery of train and test rows.

    Attributes:
        run: folder of the run.
        checkpoint: its file.
        step: number of optimizer steps.
        backbone: name of the network in results.
        train_size: rows in the training subset.
        seed: of the run.
        regime: name of the regime, see `transition.regimes`.
        reason: the sentence with the numbers that decided.
        train_recovery: recovery of training rows at the reference t, in [0, 1]; None if it was not measured.
        test_recovery: the same of test rows.
    """

    run: Path
    checkpoint: Path
    step: int
    backbone: str
    train_size: int
    seed: int
    regime: str
    reason: str
    train_recovery: float | None
    test_recovery: float | None


def judged_models(sweep: Path) -> Iterator[JudgedModel]:
    """Yield every checkpoint of a sweep, or of one run, that was measured at its step.

    A run keeps its last two checkpoints; a `ModelCheckpoint` of Lightning in `trainer.callbacks` keeps more.

    Args:
        sweep: folder of a sweep, of runs, or of a run.

    Raises:
        InputError: the folder holds no measured checkpoint, or a table or a checkpoint is damaged.
    """
    found = False
    for run in run_folders(sweep) or ([sweep] if (sweep / "measurements.csv").exists() else []):
        by_step = {int(checkpoints.load(path)["global_step"]): path for path in sorted(run.glob("checkpoints/*.ckpt"))}
        for step, checkpoint in sorted(by_step.items()):
            if judged := _judge(run, checkpoint, step):
                found = True
                yield judged
    if not found:
        raise InputError(
            f"`{sweep}` holds no checkpoint with measured recovery of train and test rows. Give the folder of a sweep "
            "whose `recovery` probe is enabled."
        )


def _judge(run: Path, checkpoint: Path, step: int) -> JudgedModel | None:
    """Return the checkpoint with the regime that the measurements of its step support; None without any."""
    rows = [row for row in read_table(run / "measurements.csv") if int(row["step"]) == step]
    draws = read_parquet(run / "rows.parquet", filters=pc.field("step") == step)
    found = estimate(rows, with_run_columns(draws, rows[0]) if rows and draws is not None else None)
    for backbone, entry in found["backbones"].items():
        for regime in entry["regimes"]:
            recovery = (regime[split]["value"] if regime[split] else None for split in ("train", "test"))
            return JudgedModel(
                run,
                checkpoint,
                step,
                backbone,
                regime["train_size"],
                int(rows[0]["seed"]),
                regime["regime"],
                regime["reason"],
                *recovery,
            )
    return None
