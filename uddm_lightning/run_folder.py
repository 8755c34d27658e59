"""The folder of a run: who may write to it, what must not change in it, and how far the run has come."""

import json
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import filelock

from uddm_lightning.errors import InputError
from uddm_lightning.files import held, write_text

HEADER = "# lightning.pytorch=="  # with which every resolved configuration begins
CHECKPOINTS = ("last", "previous")  # newest first
CONVERTED = "converted"  # under this the manifest says from which file the run was made, if it was not trained here
STOPPED = "stopped_early"  # under this the manifest says why a run ended before its last step
SAME = ("corpus", "tokenizer", "subset")  # what the manifest says of these holds for the whole run


def taken(folder: Path) -> AbstractContextManager[None]:
    """Keeps every other program that trains out of a run's folder.

    Raises:
        InputError: another process is training there, or the folder cannot be written to.
    """
    refusal = f"Another process is training in `{folder}` at this moment. Wait for it, or choose another `--out`."
    return held(folder / "run.lock", refusal)


def busy(folder: Path) -> bool:
    """Whether a process is training in the folder at this moment."""
    if not folder.exists():
        return False
    try:
        with filelock.FileLock(folder / "run.lock").acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True


def checkpoint(folder: Path, name: str) -> Path:
    """Where the run keeps the checkpoint with one of the names in `CHECKPOINTS`."""
    return folder / "checkpoints" / f"{name}.ckpt"


def of_checkpoint(path: Path) -> Path:
    """The folder of the run to which a checkpoint belongs."""
    folder = path.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def newest_checkpoint(folder: Path) -> str | None:
    """Name of the newest checkpoint of the run, as `--ckpt_path` takes it; None where there is none."""
    return next((name for name in CHECKPOINTS if checkpoint(folder, name).exists()), None)


def way_on(folder: Path) -> str:
    """How to go on with the run once what has stopped it is out of the way."""
    newest = newest_checkpoint(folder)
    return f"go on: `uddm fit -c {folder / 'config.yaml'} --ckpt_path {newest}`." if newest else "start again."


def check_unused(folder: Path, config: str) -> None:
    """Earlier results are never overwritten; what a run left that ended before its first checkpoint is none.

    Such a run may have measured, but not saved: started again with the same `config`, it measures the same.

    Raises:
        InputError: the folder holds results.
    """
    path = folder / "config.yaml"
    theirs = path.read_text(encoding="utf-8") if path.exists() else ""
    if newest := newest_checkpoint(folder):
        raise InputError(
            f"`{folder}` already holds a run. Go on with it: `uddm fit -c {path} --ckpt_path {newest}`, "
            "or choose another folder with `--out`."
        )
    if (folder / "measurements.csv").exists() and theirs != config:
        raise InputError(
            f"`{folder}` already holds measurements, of another config and without a checkpoint to go on from. "
            "Choose another folder with `--out`."
        )
    if theirs.startswith(HEADER):  # never a config somebody wrote
        path.unlink()
    (folder / "manifest.json").unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes what decides the rows of a run."""
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What decides the rows of a run; empty where nothing has been written yet."""
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest if isinstance(manifest, dict) else {}
    return {}


def check_same_data(folder: Path, new: dict[str, Any]) -> None:
    """A run goes on with the data it began with, and its table holds measurements on these alone.

    One that was trained elsewhere has none until it is first measured: `settle` writes them down.

    Raises:
        InputError: corpus, tokenizer or subset have changed since the run's manifest was written.
    """
    old = read_manifest(folder) or new
    if _unsettled(old):
        return
    for name in SAME:
        if old.get(name) != new.get(name):
            raise InputError(
                f"`{folder / 'manifest.json'}` was written for another {name}: it says {old.get(name)}, now it would "
                f"be {new.get(name)}. Restore the old text and settings, or start a new run with another `--out`."
            )


def settle(folder: Path, data: dict[str, Any]) -> None:
    """Writes into the manifest of a run that was trained elsewhere on which data it is measured here."""
    if _unsettled(manifest := read_manifest(folder)):
        write_manifest(folder, {**data, **manifest})


def origin(folder: Path) -> str | None:
    """The file that a run was made from; None for a run that was trained here."""
    converted = read_manifest(folder).get(CONVERTED)
    return str(converted.get("file")) if isinstance(converted, dict) else None


def _unsettled(manifest: dict[str, Any]) -> bool:
    return CONVERTED in manifest and not any(name in manifest for name in SAME)


def mark_trained(folder: Path, steps: int, stopped: str = "") -> None:
    """Says in the manifest that so many optimizer steps are trained, measured and saved.

    Args:
        folder: of the run.
        steps: optimizer steps.
        stopped: why they are fewer than the config's `trainer.max_steps`; empty where they are not.
    """
    if manifest := read_manifest(folder):
        manifest.pop(STOPPED, None)
        reason = {STOPPED: stopped} if stopped else {}
        write_manifest(folder, {**manifest, "trained_steps": steps, **reason})


def trained_steps(folder: Path) -> int:
    """Optimizer steps of a run that has ended; 0 while it has not."""
    return int(read_manifest(folder).get("trained_steps", 0))


def stopped_early(folder: Path) -> str:
    """Why a run has ended, measured and saved, before its last step; empty where it has not."""
    return str(read_manifest(folder).get(STOPPED, ""))
