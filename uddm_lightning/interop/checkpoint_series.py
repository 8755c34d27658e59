"""A folder of checkpoints of one training, or of runs converted from them, in the order of their steps."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.interop.convert import convert
from uddm_lightning.runs.folder import read_config
from uddm_lightning.runs.manifest import find_run_folder
from uddm_lightning.runs.run import Run, load_run

WITHOUT_STEP = ("last.ckpt", "previous.ckpt")  # they are the same as others, or later by a few steps
# Entropy on own samples needs no text, so the text that a checkpoint names need not be known.
NO_TEXT = "data: {source: {class_path: TextFiles, init_args: {paths: text.txt}}}\n"


def is_series(folder: Path) -> bool:
    """Return whether a folder holds several checkpoints or runs, and is neither a run nor a sweep itself."""
    known = any((folder / name).exists() for name in ("config.yaml", "config.json", "runs"))
    return folder.is_dir() and not known and len(_members(folder)) > 1


def load_series(folder: Path, **options: Any) -> Iterator[Run]:
    """Yield the models of a folder, in the order of their steps; a checkpoint is converted in a temporary folder.

    Args:
        folder: holds `.ckpt` files of a run or in Duo's layout, or folders of runs.
        options: of `load_run`.

    Raises:
        InputError: a checkpoint or a run cannot be read, or the runs differ in size or seed; the message names them.
    """
    _check_one_training(folder)
    steps = [(_step(member), member) for member in _members(folder)]
    for _, member in sorted(steps):
        if member.is_dir():
            yield load_run(member, **options)
            continue
        if ((own := find_run_folder(member)) / "config.yaml").is_file():
            yield load_run(own, str(member), **options)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            text = Path(temporary) / "text.yaml"
            write_text(text, NO_TEXT)
            convert(member, Path(temporary) / "run", [str(text)])
            yield load_run(Path(temporary) / "run", **options)


def _check_one_training(folder: Path) -> None:
    """Refuse runs of different sizes or seeds, such as those of a sweep: they are no steps of one training."""
    found = {}
    for run in (member for member in _members(folder) if member.is_dir()):
        config = read_config(run)
        data = config.get("data")
        found[(data.get("train_size") if isinstance(data, dict) else None, config.get("seed_everything"))] = run.name
    if len(found) > 1:
        first, second, *_ = found.values()
        raise InputError(
            f"`{folder}` holds runs of different sizes or seeds, such as {first} and {second}, and not the steps of "
            "one training. Give one run."
        )


def _members(folder: Path) -> list[Path]:
    runs = [path.parent for path in folder.glob("*/config.yaml")]
    return sorted(runs or (path for path in folder.glob("*.ckpt") if path.name not in WITHOUT_STEP))


def _step(member: Path) -> tuple[int, str]:
    """Return the numbers of the name as a guess of the step, which a large file would tell only after it is read."""
    numbers = "".join(sign if sign.isdigit() else " " for sign in member.stem).split()
    if not numbers and member.suffix == ".ckpt":
        raise InputError(f"`{member}`: the name of a checkpoint in a folder holds its step, as `0-10000.ckpt` does.")
    return (int(numbers[-1]) if numbers else 0, member.name)
