"""The folder of a run: who may write to it, what must not change in it, and how far the run has come."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import filelock
import yaml

from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Change, Kind
from uddm_lightning.config.yaml_text import from_yaml
from uddm_lightning.core.errors import InputError, sanitize_message
from uddm_lightning.core.files import hold_lock, write_text

HEADER = "# lightning.pytorch=="  # with which every resolved configuration begins
CHECKPOINTS = ("last", "previous")  # newest first
CONVERTED = "converted"  # under this the manifest says from which file the run was made, if it was not trained here
STOPPED = "stopped_early"  # under this the manifest says why a run ended before its last step
SAME = ("corpus", "tokenizer", "subset")  # what the manifest says of these holds for the whole run
ASSUMED = (
    "data.train_size",
    "seed_everything",
)  # keys that say nothing of how a run was trained, if it was trained elsewhere
NAME, HISTORY = "run", "history"  # what results call the run; what has been asked for with other values since
SHOWN = 6  # differing keys that a message names
ABOVE = 4  # folders above a checkpoint in which its run is looked for


def lock_run(folder: Path) -> AbstractContextManager[None]:
    """Keeps every other program that trains out of a run's folder.

    Raises:
        InputError: another process is training there, or the folder cannot be written to.
    """
    refusal = f"Another process is training in `{folder}` at this moment. Wait for it, or choose another `--out`."
    return hold_lock(folder / "run.lock", refusal)


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
    """The folder of the run to which a checkpoint belongs: the nearest above it with a manifest, if there is one."""
    folder = path.absolute().parent
    for above in [folder, *folder.parents][:ABOVE]:
        if (above / "manifest.json").exists():
            return above
    return folder.parent if folder.name == "checkpoints" else folder


def newest_checkpoint(folder: Path) -> str | None:
    """Name of the newest checkpoint of the run, as `--ckpt_path` takes it; None where there is none."""
    return next((name for name in CHECKPOINTS if checkpoint(folder, name).exists()), None)


def resume_hint(folder: Path) -> str:
    """How to go on with the run once what has stopped it is out of the way."""
    newest = newest_checkpoint(folder)
    return f"go on: `uddm fit -c {folder / 'config.yaml'} --ckpt_path {newest}`." if newest else "start again."


def check_unused(folder: Path, config: str) -> None:
    """Earlier results are never overwritten; what a run left that ended before its first checkpoint is none.

    Such a run may have measured, but not saved: started again with the same `config`, it measures the same, wherever
    its folder lies by now.

    Raises:
        InputError: the folder holds results.
    """
    path = folder / "config.yaml"
    if newest := newest_checkpoint(folder):
        raise InputError(
            f"`{folder}` already holds a run. Go on with it: `uddm fit -c {path} --ckpt_path {newest}`, "
            "or choose another folder with `--out`."
        )
    if not (folder / "measurements.csv").exists():
        return
    theirs = read_config(folder)
    found = (config_keys.kind_of(change.key) for change in config_keys.changes(theirs, from_yaml(config)))
    if not theirs or any(kind is not Kind.FREE for kind in found):
        raise InputError(
            f"`{folder}` already holds measurements, of another config and without a checkpoint to go on from. "
            "Choose another folder with `--out`."
        )


def run_name(backbone: str, size: int, seed: int, config: Mapping[str, Any]) -> str:
    """What results call a run, wherever it lies: what was trained, and eight hex digits of what tells runs apart.

    Args:
        backbone: what results call the network.
        size: training rows.
        seed: of everything random.
        config: nested, as in a config.yaml; its key `corpus` holds the hash of the text.
    """
    return f"{backbone}-n{size}-s{seed}-{config_keys.digest(config)}"


def name_of(folder: Path) -> str:
    """What results call the run in a folder: by its manifest, or else by the folder."""
    return str(read_manifest(folder).get(NAME) or folder.absolute().name)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of the run's config.yaml; empty if there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = folder / "config.yaml"
    return read_config_file(path) if path.exists() else {}


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the content of a config file; empty if it is no mapping.

    Raises:
        InputError: it cannot be read.
    """
    try:
        config = from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` cannot be read as a config: {sanitize_message(str(error))}") from error
    return config if isinstance(config, dict) else {}


def check_same(folder: Path, found: Sequence[Change], measuring: bool) -> None:
    """A run goes on as what it began, and is measured as what it is.

    Args:
        folder: of the run.
        found: keys in which the run differs from what is asked for.
        measuring: nothing is trained.

    Raises:
        InputError: a key among them decides what the run is.
    """
    decisive = config_keys.decisive(list(found), measuring)
    if origin(folder) is not None:
        decisive = [change for change in decisive if change.key not in ASSUMED]
    if decisive:
        more = f", and {len(decisive) - SHOWN} more" if len(decisive) > SHOWN else ""
        way_out = "for another model train a new run" if measuring else "start a new run with another `--out`"
        raise InputError(
            f"The run in `{folder}` is another one: {', '.join(map(str, decisive[:SHOWN]))}{more}. Use the run's "
            f"value, or {way_out}."
        )


def write_config(folder: Path, text: str, step: int | None) -> None:
    """Writes the resolved configuration of a run, atomically; a config.yaml that somebody wrote stays as it is.

    Args:
        folder: of the run.
        text: the configuration.
        step: steps after which it holds: the one before is kept as `config-<step>.yaml`. None is a run that begins.
    """
    path = folder / "config.yaml"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if old == text or (old and not old.startswith(HEADER)):
        return
    if step is not None:
        kept, number = folder / f"config-{step}.yaml", 1
        while kept.exists() and kept.read_text(encoding="utf-8") != old:
            number += 1
            kept = folder / f"config-{step}.{number}.yaml"
        write_text(kept, old)
    write_text(path, text)


def is_own_config(folder: Path) -> bool:
    """Whether the config.yaml there was written by this program, or is missing."""
    path = folder / "config.yaml"
    return not path.exists() or path.read_text(encoding="utf-8").startswith(HEADER)


def note(folder: Path, command: str, step: int, found: Sequence[Change]) -> None:
    """Adds to the manifest what was asked for with other values than those of the run's config."""
    if not found:
        return
    with _manifest_lock(folder):
        manifest = read_manifest(folder)
        keys = {change.key: {"before": change.there, "now": change.here} for change in found}
        entry = {"command": command, "step": step, "keys": keys}
        history = manifest.get(HISTORY, [])
        if entry not in history:
            write_manifest(folder, {**manifest, HISTORY: [*history, entry]})


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes what decides the rows of a run."""
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What decides the rows of a run; empty where nothing has been written yet."""
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest if isinstance(manifest, dict) else {}
    return {}


def check_same_data(folder: Path, new: dict[str, Any], found: Sequence[Change] = ()) -> None:
    """A run goes on with the data it began with, and its table holds measurements on these alone.

    One that was trained elsewhere has none until it is first measured: `settle` writes them down.

    Args:
        folder: of the run.
        new: the manifest of the data at hand.
        found: keys in which the run's config differs from what is asked for.

    Raises:
        InputError: corpus, tokenizer or subset have changed since the run's manifest was written.
    """
    old = read_manifest(folder) or new
    if _unsettled(old):
        return
    for name in SAME:
        if old.get(name) != new.get(name):
            text = [str(change) for change in found if config_keys.kind_of(change.key) is Kind.TEXT]
            if name == "subset":
                rows = [f"{one.get('train_size')} rows of seed {one.get('seed')}" for one in (old, new)]
                text = [f"{rows[0]} there and {rows[1]} now"]
            why = f" ({', '.join(text[:SHOWN])})" if text else ""
            way_out = "convert it once more into another folder" if CONVERTED in old else "start a new run"
            raise InputError(
                f"`{folder / 'manifest.json'}` was written for another {name}{why}: it says {old.get(name)}, now it "
                f"would be {new.get(name)}. Restore the old text and settings, or {way_out} with another `--out`."
            )


def settle(folder: Path, data: dict[str, Any], name: str | None = None) -> None:
    """Completes the manifest of a run that was trained elsewhere, or by an earlier version.

    Args:
        folder: of the run.
        data: on which data it is measured here.
        name: what results call it.
    """
    manifest = read_manifest(folder)
    if not manifest or not (_unsettled(manifest) or (name is not None and NAME not in manifest)):
        return
    with _manifest_lock(folder):
        manifest = read_manifest(folder)
        named = {} if name is None else {NAME: name}
        write_manifest(folder, {**named, **(data if _unsettled(manifest) else {}), **manifest})


def _manifest_lock(folder: Path) -> AbstractContextManager[None]:
    """Held while the manifest is read, changed and written: a run may be measured while it trains."""
    return hold_lock(folder / "manifest.lock", f"Another process is writing `{folder / 'manifest.json'}`. Try again.")


def origin(folder: Path) -> str | None:
    """The file that a run was made from; None for a run that was trained here."""
    converted = read_manifest(folder).get(CONVERTED)
    return str(converted.get("file")) if isinstance(converted, dict) else None


def _unsettled(manifest: dict[str, Any]) -> bool:
    return CONVERTED in manifest and not any(name in manifest for name in SAME)


def mark_trained(folder: Path, steps: int, stopped: str = "") -> None:
    """Says in the manifest that so many optimizer steps are trained, measured and saved; 0 is a run at work.

    Args:
        folder: of the run.
        steps: optimizer steps.
        stopped: why they are fewer than the config's `trainer.max_steps`; empty where they are not.
    """
    with _manifest_lock(folder):
        if manifest := read_manifest(folder):
            new = {name: value for name, value in manifest.items() if name not in (STOPPED, "trained_steps")}
            new |= {"trained_steps": steps} if steps or "trained_steps" in manifest else {}
            new |= {STOPPED: stopped} if stopped else {}
            if new != manifest:
                write_manifest(folder, new)


def trained_steps(folder: Path) -> int:
    """Optimizer steps of a run that has ended; 0 while it has not."""
    return int(read_manifest(folder).get("trained_steps", 0))


def stopped_early(folder: Path) -> str:
    """Why a run has ended, measured and saved, before its last step; empty where it has not."""
    return str(read_manifest(folder).get(STOPPED, ""))
