"""Folder of a run: its lock, its checkpoints, its config, and checks that a command fits the run in it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock
import yaml

from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Change, Kind
from uddm_lightning.config.yaml_text import from_yaml
from uddm_lightning.core.errors import InputError, sanitize_message
from uddm_lightning.core.files import hold_lock, write_text
from uddm_lightning.runs.manifest import CONVERTED, DATA, converted_from, lacks_data, read_manifest

HEADER = "# lightning.pytorch=="  # first characters of a config that this program has written
CHECKPOINTS = ("last", "previous")  # newest first
NOT_IN_CONVERTED = ("data.train_size", "seed_everything")  # a converted run does not record these keys
SHOWN = 6  # changed keys that a message names


def lock_run(folder: Path) -> AbstractContextManager[None]:
    """Lock the folder of a run for training.

    Raises:
        InputError: another process is training there, or the folder cannot be written to.
    """
    refusal = f"Another process is training in `{folder}` at this moment. Wait for it, or choose another `--out`."
    return hold_lock(folder / "run.lock", refusal)


def is_locked(folder: Path) -> bool:
    """Return whether a process is training in the folder at this moment."""
    if not folder.exists():
        return False
    try:
        with filelock.FileLock(folder / "run.lock").acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True


def checkpoint_path(folder: Path, name: str) -> Path:
    """Return the path of a checkpoint of the run, by its name in `CHECKPOINTS`."""
    return folder / "checkpoints" / f"{name}.ckpt"


def newest_checkpoint(folder: Path) -> str | None:
    """Return the name of the newest checkpoint of the run, or None."""
    return next((name for name in CHECKPOINTS if checkpoint_path(folder, name).exists()), None)


def resume_hint(folder: Path) -> str:
    """Return the command that resumes the run, as the end of a sentence."""
    newest = newest_checkpoint(folder)
    return f"go on: `uddm fit -c {folder / 'config.yaml'} --ckpt_path {newest}`." if newest else "start again."


def run_name(backbone: str, size: int, seed: int, config: Mapping[str, Any]) -> str:
    """Return the name of a run in results: network, size, seed, and eight hex digits of all keys that identify it.

    Args:
        backbone: name of the network in results.
        size: number of training rows.
        seed: of the run.
        config: nested, as in a config.yaml; its key `corpus` holds the hash of the text.
    """
    return f"{backbone}-n{size}-s{seed}-{config_keys.digest(config)}"


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


def write_config(folder: Path, text: str, step: int | None) -> None:
    """Write the resolved config of a run, atomically. A config.yaml that a user wrote is not changed.

    Args:
        folder: of the run.
        text: the config.
        step: number of optimizer steps after which it holds; the earlier config is kept as `config-<step>.yaml`. None
            for a new run.
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
    """Return whether this program wrote the config.yaml of the run, or there is none."""
    path = folder / "config.yaml"
    return not path.exists() or path.read_text(encoding="utf-8").startswith(HEADER)


def check_unused(folder: Path, config: str) -> None:
    """Check that a new run may write to the folder.

    A run that ended before its first checkpoint may have measurements. The same `config` repeats them exactly, so it
    may start again in the same folder.

    Raises:
        InputError: the folder holds a run with a checkpoint, or measurements of another config.
    """
    path = folder / "config.yaml"
    if newest := newest_checkpoint(folder):
        raise InputError(
            f"`{folder}` already holds a run. Go on with it: `uddm fit -c {path} --ckpt_path {newest}`, "
            "or choose another folder with `--out`."
        )
    if not (folder / "measurements.csv").exists():
        return
    old = read_config(folder)
    kinds = (config_keys.kind_of(change.key) for change in config_keys.changes(old, from_yaml(config)))
    if not old or any(kind is not Kind.FREE for kind in kinds):
        raise InputError(
            f"`{folder}` already holds measurements, of another config and without a checkpoint to go on from. "
            "Choose another folder with `--out`."
        )


def check_same_run(folder: Path, changes: Sequence[Change], measuring: bool) -> None:
    """Check that no key that identifies the run has changed.

    Args:
        folder: of the run.
        changes: keys in which the requested config differs from the run's.
        measuring: nothing is trained.

    Raises:
        InputError: such a key has changed.
    """
    decisive = config_keys.decisive(list(changes), measuring)
    if converted_from(folder) is not None:
        decisive = [change for change in decisive if change.key not in NOT_IN_CONVERTED]
    if decisive:
        more = f", and {len(decisive) - SHOWN} more" if len(decisive) > SHOWN else ""
        way_out = "for another model train a new run" if measuring else "start a new run with another `--out`"
        raise InputError(
            f"The run in `{folder}` is another one: {', '.join(map(str, decisive[:SHOWN]))}{more}. Use the run's "
            f"value, or {way_out}."
        )


def check_same_data(folder: Path, new: dict[str, Any], changes: Sequence[Change] = ()) -> None:
    """Check that a run is resumed or measured with the data that its manifest records.

    The manifest of a converted run records no data until the run is measured.

    Args:
        folder: of the run.
        new: manifest of the data at hand.
        changes: keys in which the requested config differs from the run's; they explain the error.

    Raises:
        InputError: corpus, tokenizer or subset are not those of the manifest.
    """
    old = read_manifest(folder) or new
    if lacks_data(old):
        return
    for name in DATA:
        if old.get(name) != new.get(name):
            reasons = [str(change) for change in changes if config_keys.kind_of(change.key) is Kind.TEXT]
            if name == "subset":
                rows = [f"{one.get('train_size')} rows of seed {one.get('seed')}" for one in (old, new)]
                reasons = [f"{rows[0]} there and {rows[1]} now"]
            why = f" ({', '.join(reasons[:SHOWN])})" if reasons else ""
            way_out = "convert it once more into another folder" if CONVERTED in old else "start a new run"
            raise InputError(
                f"`{folder / 'manifest.json'}` was written for another {name}{why}: it says {old.get(name)}, now it "
                f"would be {new.get(name)}. Restore the old text and settings, or {way_out} with another `--out`."
            )
