"""Manifest of a run: manifest.json in its folder says what was trained, on which data, and how far."""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from uddm_lightning.core.files import hold_lock, write_text

FILE = "manifest.json"
NAME = "run"  # name of the run in results
CONVERTED = "converted"  # of a converted run: the file that it was made from
HISTORY = "history"  # changed values of config keys
TRAINED_STEPS = "trained_steps"
STOPPED_EARLY = "stopped_early"  # why the run ended before its last step
FLOAT32_PRODUCTS = "float32_matmul_precision"  # of a run that was trained on CUDA, as PyTorch names it
MACHINES = "machines"  # names of those that trained the run
SECONDS = "training_seconds"  # wall time of `fit`, measuring included
DATA = ("corpus", "tokenizer", "subset")  # identify the data; they never change
MAX_DEPTH = 4  # folders above a checkpoint that may be the folder of its run


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run; empty if there is none or it cannot be read."""
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return manifest if isinstance(manifest, dict) else {}
    return {}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a run, atomically."""
    write_text(folder / FILE, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def find_run_folder(checkpoint: Path) -> Path:
    """Return the folder of the run that a checkpoint belongs to: the nearest one above it with a manifest, if any."""
    folder = checkpoint.absolute().parent
    for above in [folder, *folder.parents][:MAX_DEPTH]:
        if (above / FILE).exists():
            return above
    return folder.parent if folder.name == "checkpoints" else folder


def read_run_name(folder: Path) -> str:
    """Return the name of a run in results: that of its manifest, else that of its folder."""
    return str(read_manifest(folder).get(NAME) or folder.absolute().name)


def converted_from(folder: Path) -> str | None:
    """Return the file that a run was converted from; None for a run that was trained here."""
    converted = read_manifest(folder).get(CONVERTED)
    return str(converted.get("file")) if isinstance(converted, dict) else None


def trained_steps(folder: Path) -> int:
    """Return the number of optimizer steps of a finished run; 0 if it is not finished."""
    return int(read_manifest(folder).get(TRAINED_STEPS, 0))


def stopped_early(folder: Path) -> str:
    """Return why a finished run ended before its last step; empty if it did not."""
    return str(read_manifest(folder).get(STOPPED_EARLY, ""))


def lacks_data(manifest: dict[str, Any]) -> bool:
    """Return whether a run was converted and not measured since, so that its data are not recorded yet."""
    return CONVERTED in manifest and not any(name in manifest for name in DATA)


def complete_manifest(folder: Path, data: dict[str, Any], name: str | None = None) -> None:
    """Add the data and the name of a run to its manifest if they are missing.

    Args:
        folder: of the run.
        data: manifest of the data on which the run is measured; recorded for a converted run.
        name: of the run in results.
    """
    manifest = read_manifest(folder)
    if not manifest or not (lacks_data(manifest) or (name is not None and NAME not in manifest)):
        return
    with _lock(folder):
        manifest = read_manifest(folder)
        named = {} if name is None else {NAME: name}
        write_manifest(folder, {**named, **(data if lacks_data(manifest) else {}), **manifest})


def record_changes(folder: Path, command: str, step: int, changes: Iterable[tuple[str, Any, Any]]) -> None:
    """Add changed config keys to the history of a run; the same changes are recorded once.

    Args:
        folder: of the run.
        command: that uses the new values.
        step: optimizer steps of the checkpoint that it uses.
        changes: keys with their values in the run's config and their new values.
    """
    keys = {key: {"before": before, "now": now} for key, before, now in changes}
    if not keys:
        return
    with _lock(folder):
        manifest = read_manifest(folder)
        entry, history = {"command": command, "step": step, "keys": keys}, manifest.get(HISTORY, [])
        if entry not in history:
            write_manifest(folder, {**manifest, HISTORY: [*history, entry]})


def mark_trained(folder: Path, steps: int, reason: str = "") -> None:
    """Record that a run is finished: trained, measured and saved.

    Args:
        folder: of the run.
        steps: number of optimizer steps; 0 means that the run is not finished.
        reason: why there are fewer than `trainer.max_steps`; empty if there are not.
    """
    with _lock(folder):
        if manifest := read_manifest(folder):
            new = {name: value for name, value in manifest.items() if name not in (STOPPED_EARLY, TRAINED_STEPS)}
            new |= {TRAINED_STEPS: steps} if steps or TRAINED_STEPS in manifest else {}
            new |= {STOPPED_EARLY: reason} if reason else {}
            if new != manifest:
                write_manifest(folder, new)


def record_time(folder: Path, machine: str, seconds: float) -> None:
    """Add the machine and the wall time of one `fit` to the manifest of a run.

    Args:
        folder: of the run; without a manifest nothing is recorded.
        machine: name of the machine.
        seconds: from the start of training to its end, measuring included; those of earlier sessions are added.
    """
    if not read_manifest(folder):
        return
    with _lock(folder):
        if manifest := read_manifest(folder):
            machines = list(dict.fromkeys([*manifest.get(MACHINES, []), machine]))
            total = round(float(manifest.get(SECONDS, 0.0)) + seconds, 1)
            write_manifest(folder, {**manifest, MACHINES: machines, SECONDS: total})


def _lock(folder: Path) -> AbstractContextManager[None]:
    """Lock the manifest for a change: a run may be measured while it trains."""
    return hold_lock(folder / "manifest.lock", f"Another process is writing `{folder / FILE}`. Try again.")
