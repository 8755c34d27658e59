"""The table of config keys: which values of a run may change, and when.

A key belongs to the entry with its longest prefix. Measuring is `uddm validate`, `test` and `predict`; resuming is
`uddm fit` with `--ckpt_path`.
"""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

from typing_extensions import override


class Kind(Enum):
    """What a changed value of a key means for an existing run."""

    DECIDES = "identifies the run: another value is refused on resume and when measuring"
    TEXT = "identifies the text: its content is compared by hash, so its path may change but its content may not"
    TRAINING = "may change on resume and is recorded; does not affect measuring; part of the run's name"
    MEASURING = "may change on resume and is recorded; another value when measuring is allowed and recorded"
    RUNNING = "how and where the run is executed: may change on resume and is recorded"
    FREE = "may change at any time"


# names of keys by kind and section
_TABLE: dict[Kind, dict[str, str]] = {
    Kind.DECIDES: {
        "": "seed_everything",
        "data.": "batch_size canaries train_size",
        "model.": "backbone backbone_name ema_decay objective optimizer process",
        "trainer.": "accumulate_grad_batches gradient_clip_algorithm gradient_clip_val precision",
    },
    Kind.TEXT: {"data.": "packing source test_fraction tokenizer"},
    Kind.TRAINING: {"model.": "lr_schedule optimizer.init_args", "trainer.": "max_steps"},
    Kind.MEASURING: {
        "": "basin entropy nelbo probes recovery samples trajectory",
        "data.": "num_random_rows num_sample_rows num_test_rows num_train_rows",
        "model.": "eval_dtype predict_t sampler",
    },
    Kind.RUNNING: {
        "": "threads",
        "data.": "cache_dir eval_batch_size num_workers",
        "model.": "compile",
        "trainer.": "accelerator barebones benchmark callbacks check_val_every_n_epoch detect_anomaly deterministic "
        "devices enable_autolog_hparams enable_checkpointing inference_mode limit_predict_batches limit_test_batches "
        "limit_train_batches limit_val_batches log_every_n_steps logger max_epochs max_time min_epochs min_steps "
        "model_registry num_nodes num_sanity_val_steps overfit_batches plugins profiler "
        "reload_dataloaders_every_n_epochs strategy sync_batchnorm use_distributed_sampler val_check_interval",
    },
    Kind.FREE: {
        "": "ckpt_path config out table text",
        "data.": "text",
        "trainer.": "default_root_dir enable_model_summary enable_progress_bar fast_dev_run",
    },
}
KEYS = {
    section + name: kind
    for kind, sections in _TABLE.items()
    for section, names in sections.items()
    for name in names.split()
}
__doc__ += "\n" + "\n".join(
    f"* {kind.name}, {kind.value}:\n  {', '.join(f'`{key}`' for key, its in KEYS.items() if its is kind)}"
    for kind in Kind
)

NAMING = (Kind.DECIDES, Kind.TRAINING)  # kinds whose initial values are part of the run's name
PRECISIONS = {"None": "32-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}
FULL_WEIGHTS = ("16-mixed", "bf16-mixed", "32-true")  # precisions that keep the weights in float32


class Change(NamedTuple):
    """A key with its value in the run and its requested value."""

    key: str
    there: Any
    here: Any

    @override
    def __str__(self) -> str:
        return f"`{self.key}` is {self.there!r} there and {self.here!r} now"


def kind_of(key: str) -> Kind | None:
    """Return the kind of a dotted key; None if the table has no entry for it."""
    parts = key.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((KEYS[prefix] for prefix in prefixes if prefix in KEYS), None)


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of a nested config."""
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[Change]:
    """Return the keys in which two configs differ.

    An argument that only one of them has is left out, because the configs may be of different versions of the program.
    A class may have its short name in one of them.
    """
    return list(_changes(there, here, ""))


def _changes(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    is_plugin = "class_path" in there and "class_path" in here
    if is_plugin:  # with another class its arguments are not compared
        if (change := _class_change(there, here, prefix)) is not None:
            yield change
            return
        there, here = ({name: value for name, value in one.items() if name != "class_path"} for one in (there, here))
    of_a_class = is_plugin or prefix == "" or prefix.endswith("init_args.") or prefix.count(".") == 1
    for name in dict.fromkeys([*there, *here]):
        key = prefix + name
        if of_a_class and not (name in there and name in here):
            continue
        one, other = there.get(name), here.get(name)
        if prefix == "" and isinstance(one, dict) != isinstance(other, dict):
            continue  # a section in a file of its own
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _changes(one, other, f"{key}.")
        elif isinstance(one, str) and isinstance(other, dict) and "class_path" in other:
            yield from _changes({"class_path": one}, other, f"{key}.")
        elif isinstance(other, str) and isinstance(one, dict) and "class_path" in one:
            yield from _changes(one, {"class_path": other}, f"{key}.")
        elif _plain(key, one) != _plain(key, other):
            yield Change(key, one, other)


def _class_change(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str) -> Change | None:
    """Return the change of a plugin's class, or None; a short name equals every path that ends with it."""
    paths = str(there["class_path"]), str(here["class_path"])
    short = any("." not in path for path in paths)
    names = [path.rpartition(".")[2] if short else path for path in paths]
    return Change(f"{prefix}class_path", *paths) if names[0] != names[1] else None


def _plain(key: str, value: Any) -> Any:
    """Return a value in the form in which it is compared."""
    if key == "trainer.precision":
        return PRECISIONS.get(str(value), str(value))
    return list(value) if isinstance(value, tuple) else value


def decisive(found: list[Change], measuring: bool) -> list[Change]:
    """Return the changes that identify another run or another model.

    Args:
        found: changes.
        measuring: nothing is trained, so the kind of mixed precision does not matter.
    """
    return [
        change
        for change in found
        if kind_of(change.key) in (Kind.DECIDES, None)
        and not (
            measuring
            and change.key == "trainer.precision"
            and all(_plain(change.key, value) in FULL_WEIGHTS for value in (change.there, change.here))
        )
    ]


def recorded(found: list[Change], measuring: bool) -> list[Change]:
    """Return the changes that the run's folder records.

    Args:
        found: changes.
        measuring: nothing is trained, so only keys of kind MEASURING can change.
    """
    if measuring:
        return [change for change in found if kind_of(change.key) is Kind.MEASURING]
    return [change for change in found if kind_of(change.key) is not Kind.FREE]


def digest(config: Mapping[str, Any]) -> str:
    """Return eight hex digits of the keys that identify a run.

    Args:
        config: nested, as in a config.yaml; a key `corpus` holds the hash of the text.
    """
    telling = {key: value for key, value in flat(config) if kind_of(key) in NAMING or key == "corpus"}
    telling.pop("model.backbone_name", None)  # it stands in front of the digits, whether the config gives it or not
    if telling.get("data.canaries") is None:  # names of runs without canaries do not depend on this key
        telling.pop("data.canaries", None)
    if "trainer.precision" in telling:
        telling["trainer.precision"] = _plain("trainer.precision", telling["trainer.precision"])
    return sha256(json.dumps(telling, sort_keys=True, default=str).encode()).hexdigest()[:8]
