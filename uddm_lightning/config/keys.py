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


KEYS: dict[str, Kind] = {
    "seed_everything": Kind.DECIDES,
    "data.batch_size": Kind.DECIDES,
    "data.test_fraction": Kind.TEXT,
    "data.packing": Kind.TEXT,
    "data.train_size": Kind.DECIDES,
    "data.source": Kind.TEXT,
    "data.tokenizer": Kind.TEXT,
    "data.cache_dir": Kind.RUNNING,
    "data.num_workers": Kind.RUNNING,
    "data.eval_batch_size": Kind.RUNNING,
    "data.num_random_rows": Kind.MEASURING,
    "data.num_sample_rows": Kind.MEASURING,
    "data.num_test_rows": Kind.MEASURING,
    "data.text": Kind.FREE,
    "data.num_train_rows": Kind.MEASURING,
    "model.backbone": Kind.DECIDES,
    "model.backbone_name": Kind.DECIDES,
    "model.compile": Kind.RUNNING,
    "model.ema_decay": Kind.DECIDES,
    "model.lr_schedule": Kind.TRAINING,
    "model.eval_dtype": Kind.MEASURING,
    "model.objective": Kind.DECIDES,
    "model.optimizer": Kind.DECIDES,
    "model.optimizer.init_args": Kind.TRAINING,
    "model.process": Kind.DECIDES,
    "model.predict_t": Kind.MEASURING,
    "model.sampler": Kind.MEASURING,
    "basin": Kind.MEASURING,
    "entropy": Kind.MEASURING,
    "nelbo": Kind.MEASURING,
    "probes": Kind.MEASURING,
    "recovery": Kind.MEASURING,
    "samples": Kind.MEASURING,
    "table": Kind.FREE,
    "trajectory": Kind.MEASURING,
    "trainer.accelerator": Kind.RUNNING,
    "trainer.accumulate_grad_batches": Kind.DECIDES,
    "trainer.barebones": Kind.RUNNING,
    "trainer.benchmark": Kind.RUNNING,
    "trainer.callbacks": Kind.RUNNING,
    "trainer.check_val_every_n_epoch": Kind.RUNNING,
    "trainer.default_root_dir": Kind.FREE,
    "trainer.detect_anomaly": Kind.RUNNING,
    "trainer.deterministic": Kind.RUNNING,
    "trainer.devices": Kind.RUNNING,
    "trainer.enable_autolog_hparams": Kind.RUNNING,
    "trainer.enable_checkpointing": Kind.RUNNING,
    "trainer.enable_model_summary": Kind.FREE,
    "trainer.enable_progress_bar": Kind.FREE,
    "trainer.fast_dev_run": Kind.FREE,
    "trainer.gradient_clip_algorithm": Kind.DECIDES,
    "trainer.gradient_clip_val": Kind.DECIDES,
    "trainer.inference_mode": Kind.RUNNING,
    "trainer.limit_predict_batches": Kind.RUNNING,
    "trainer.limit_test_batches": Kind.RUNNING,
    "trainer.limit_train_batches": Kind.RUNNING,
    "trainer.limit_val_batches": Kind.RUNNING,
    "trainer.log_every_n_steps": Kind.RUNNING,
    "trainer.logger": Kind.RUNNING,
    "trainer.max_epochs": Kind.RUNNING,
    "trainer.max_steps": Kind.TRAINING,
    "trainer.max_time": Kind.RUNNING,
    "trainer.min_epochs": Kind.RUNNING,
    "trainer.min_steps": Kind.RUNNING,
    "trainer.model_registry": Kind.RUNNING,
    "trainer.num_nodes": Kind.RUNNING,
    "trainer.num_sanity_val_steps": Kind.RUNNING,
    "trainer.overfit_batches": Kind.RUNNING,
    "trainer.plugins": Kind.RUNNING,
    "trainer.precision": Kind.DECIDES,
    "trainer.profiler": Kind.RUNNING,
    "trainer.reload_dataloaders_every_n_epochs": Kind.RUNNING,
    "trainer.strategy": Kind.RUNNING,
    "trainer.sync_batchnorm": Kind.RUNNING,
    "trainer.use_distributed_sampler": Kind.RUNNING,
    "trainer.val_check_interval": Kind.RUNNING,
    "threads": Kind.RUNNING,
    "ckpt_path": Kind.FREE,
    "config": Kind.FREE,
    "out": Kind.FREE,
    "text": Kind.FREE,
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
    if "trainer.precision" in telling:
        telling["trainer.precision"] = _plain("trainer.precision", telling["trainer.precision"])
    return sha256(json.dumps(telling, sort_keys=True, default=str).encode()).hexdigest()[:8]
