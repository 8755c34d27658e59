"""The resolved configuration of one model of a sweep, without size, seed and folder."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.keys import Kind, flat, kind_of
from uddm_lightning.config.trainer_section import device_count
from uddm_lightning.core.class_path import import_class
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.gpu_estimate import estimate_run, smallest_gpu_memory
from uddm_lightning.runs.folder import read_config
from uddm_lightning.sweeps.sweep_run import SweepRun

SET_BY_SWEEP = {  # keys that a sweep sets for every run, with what decides the value
    "data.train_size": "`--sizes`",
    "seed_everything": "`--seeds`",
    "model.backbone_name": "the NAME of `--variant`",
    "out": "`--out`",
    "trainer.default_root_dir": "`--out`",
    "ckpt_path": "the last checkpoint of the run",
}
BEST = "MarkovBackbone"  # exact model of text from a known Markov chain


@dataclass(frozen=True)
class Variant:
    """One model of a sweep: a backbone, or other values of some options.

    Attributes:
        name: name of the model in the results, in the column `backbone`.
        arguments: arguments of `uddm fit`, without size, seed and folder.
        config: the configuration to which the arguments resolve.
        gpu_memory: estimated bytes of a process of a run on its GPU; None if unknown.
    """

    name: str
    arguments: tuple[str, ...]
    config: dict[str, Any]
    gpu_memory: int | None = None

    @classmethod
    def of(cls, arguments: list[str], fragment: str | None) -> "Variant":
        """Resolve the arguments of `uddm fit`, with the file `fragment` laid over the configuration.

        Raises:
            InputError: the arguments are wrong, or do not limit the number of training steps.
        """
        if fragment is not None:
            last = max((place for place, word in enumerate(arguments) if word in ("-c", "--config")), default=-2) + 2
            named = ["--model.backbone_name", Path(fragment).stem]
            arguments = [*arguments[:last], "-c", fragment, *arguments[last:], *named]
        config = resolve(arguments).values
        name = config["model"].get("backbone_name") or config["model"]["backbone"]["class_path"].rpartition(".")[2]
        if config["trainer"]["max_steps"] < 1:
            raise InputError(
                f"`trainer.max_steps` is {config['trainer']['max_steps']}: a sweep gives every size the same number of "
                "steps; set it."
            )
        return cls(name, tuple(arguments), config)

    @classmethod
    def changed(cls, arguments: list[str], text: str) -> "Variant":
        """Resolve the arguments of `uddm fit` with other values of some options, given as `NAME={"OPTION": VALUE}`.

        Raises:
            InputError: the text has another form, or a value is wrong.
        """
        name, options = read_variant(text)
        pairs = [(f"--{key}", value if isinstance(value, str) else json.dumps(value)) for key, value in options.items()]
        words = [word for pair in pairs for word in pair]
        return cls.of([*arguments, *words, "--model.backbone_name", name], None)

    def run(self, folder: Path, size: int, seed: int) -> SweepRun:
        """Return the run of a size and a seed in a sweep's folder."""
        trainer = self.config["trainer"]
        processes = device_count(trainer["devices"])
        trainable = getattr(import_class(self.config["model"]["backbone"]["class_path"]), "trainable", True)
        return SweepRun(
            backbone=self.name,
            size=size,
            seed=seed,
            sweep_folder=folder,
            start=("fit" if trainable else "validate", *self.arguments),
            steps=trainer["max_steps"],
            threads=self.config["threads"],
            processes=processes,
            gpus=processes if self.on_gpu else 0,
            gpu_memory=self.gpu_memory,
        )

    @property
    def on_gpu(self) -> bool:
        """Whether the runs train on GPUs."""
        accelerator = self.config["trainer"]["accelerator"]
        return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())

    def with_gpu_memory(self, vocab_size: int) -> "Variant":
        """Return the variant with the estimated memory of its runs on the GPUs of this machine, if they use any."""
        size = smallest_gpu_memory() if self.on_gpu else None
        if size is None:
            return self
        estimate = estimate_run(self.config, vocab_size, gpu_memory=size)
        return replace(self, gpu_memory=estimate and estimate.memory)

    @classmethod
    def best(cls, arguments: list[str]) -> "Variant":
        """Return the variant with the exact model of text from a known Markov chain, for comparison."""
        return cls.of([*arguments, "--model.backbone", BEST, "--model.backbone_name", BEST], None)

    def differences(self, run: SweepRun) -> dict[str, tuple[Any, Any]]:
        """Return the keys in which a run that exists differs from this variant, with both values; empty for a new run.

        Raises:
            InputError: the run's config.yaml cannot be read.
        """
        path = run.folder / "config.yaml"
        results = ("measurements.csv", "checkpoints/last.ckpt")
        if not path.exists() or not any((run.folder / name).exists() for name in results):
            return {}
        here = copy.deepcopy(self.config)
        here["data"]["train_size"], here["seed_everything"] = run.size, run.seed
        found = _differences(read_config(run.folder), here)
        # options added since the file was written have their defaults once it is resolved
        return found and _differences(resolve(["-c", str(path)]).values, here)


def read_variant(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a `--variant`.

    Raises:
        InputError: the text has another form, or an option is one that the sweep sets.
    """
    name, _, content = text.partition("=")
    try:
        options = json.loads(content)
    except ValueError:
        options = None
    if not name or not isinstance(options, dict):
        raise InputError(
            f"`--variant {text}`: give a name and options as JSON, such as `--variant "
            """'dropout={"model.backbone.init_args.dropout": 0.1}'`."""
        )
    for key, _ in flat(options):
        if key in SET_BY_SWEEP:
            raise InputError(
                f"`--variant {text}`: `{key}` is set by {SET_BY_SWEEP[key]} for all models of a sweep; leave it out."
            )
    return name, options


def _differences(there: dict[str, Any], here: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    flat_there, flat_here = dict(flat(there)), dict(flat(here))
    keys = [*flat_here, *(key for key in flat_there if key not in flat_here)]
    pairs = {key: (flat_there.get(key), flat_here.get(key)) for key in keys if kind_of(key) is not Kind.FREE}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
