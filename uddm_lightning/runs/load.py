"""Load a trained model from a config and a checkpoint; no training data and no trainer are needed."""

import copy
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import torch

from uddm_lightning.core.class_path import import_class
from uddm_lightning.core.devices import use_tensor_cores
from uddm_lightning.core.errors import InputError, sanitize_message
from uddm_lightning.data import Packing, Tokenizer
from uddm_lightning.data.corpus import Corpus, load_cached_corpus
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.instantiate import build_plugin, build_task
from uddm_lightning.runs.manifest import FILE, find_run_folder, read_manifest
from uddm_lightning.training.task import DiffusionTask

DECISIVE = ("process", "backbone", "objective", "sampler", "eval_dtype")  # parts of a model that decide a sample
SHOWN_RUNS = 8  # runs of a sweep that a message names


class LoadedModel(NamedTuple):
    """A model with its weights.

    Attributes:
        task: holds averaged and raw weights.
        packing: of the rows that it was trained on.
        config: content of config.yaml, with the sampler that is used.
        step: number of optimizer steps of the weights.
        digest: hex SHA-256 of the checkpoint.
        folder: of the run.
    """

    task: DiffusionTask
    packing: Packing
    config: dict[str, Any]
    step: int
    digest: str
    folder: Path

    @property
    def length(self) -> int:
        """L."""
        return self.packing.length

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config.get("seed_everything") or 0)

    @property
    def threads(self) -> int:
        """CPU threads of the run; numbers repeat exactly only with the same number of them."""
        return int(self.config.get("threads") or 1)

    @property
    def decisive(self) -> dict[str, Any]:
        """Section `model` of the config, without parts that do not change a sample."""
        return {name: self.config["model"][name] for name in DECISIVE if name in self.config["model"]}

    def tokenizer(self, fetch: bool) -> Tokenizer | None:
        """Return the tokenizer of the prepared text, or one that the config fully describes; else None.

        Args:
            fetch: download it from the hub if needed.
        """
        if corpus := self.corpus():
            return corpus.tokenizer
        with suppress(InputError, ImportError, AttributeError, KeyError, ValueError):
            spec = self.config["data"].get("tokenizer") or {}
            if not fetch and import_class(spec["class_path"]).downloads(**(spec.get("init_args") or {})):
                return None
            tokenizer = build_plugin(Tokenizer, "data.tokenizer", spec)
            assert isinstance(tokenizer, Tokenizer)
            tokenizer.fit([])  # leaves a given alphabet or vocabulary as it is
            return tokenizer if tokenizer.vocab_size == self.task.process.vocab_size else None
        return None

    def corpus(self) -> Corpus | None:
        """Return the prepared text of the run if it is in the cache; it is never built here."""
        manifest = read_manifest(self.folder)
        return load_cached_corpus(manifest, self.config["data"].get("cache_dir")) if manifest else None


def load(path: Path, ckpt: str, steps: int | None = None, device: str | None = None) -> LoadedModel:
    """Build the model that a config describes and load the weights of a checkpoint.

    Args:
        path: a run's folder, or its config.yaml.
        ckpt: path of a checkpoint, or "last" or "previous" of the run.
        steps: of the reverse chain; None keeps the config's.
        device: such as "cuda:1"; None takes a GPU where there is one.

    Raises:
        InputError: the config cannot be read or lacks a section, the checkpoint is damaged or does not fit the config,
            or the model has no weights.
    """
    path = _config_path(path)
    config = run_folder.read_config_file(path)
    ckpt_path = checkpoints.resolve(ckpt, path.parent)
    _check_owner(ckpt_path, path)
    checkpoint = checkpoints.load(ckpt_path)
    model, data = (config[name] if isinstance(config.get(name), dict) else {} for name in ("model", "data"))
    for name, section in (("model", model), ("data.packing", data.get("packing"))):
        if not section:
            raise InputError(f"`{path}` has no section `{name}`. Use the `config.yaml` beside the checkpoint.")
    packing = build_plugin(Packing, "data.packing", data["packing"])
    if steps is not None:
        model["sampler"] = {**model["sampler"], "init_args": {**model["sampler"].get("init_args", {}), "steps": steps}}
    vocab_size = checkpoint["hyper_parameters"].get("vocab_size")
    if type(vocab_size) is not int:
        raise InputError(f"`--ckpt_path {ckpt_path}` does not say how many ids its vocabulary has.")
    task = build_task({"model": {**copy.deepcopy(model), "compile": False}}, vocab_size)
    if not task.parameter_count:
        raise InputError(
            f"`model.backbone` is {task.backbone_name}, which has no weights to load. Measure it with "
            "`uddm validate -c CONFIG --out RUN`."
        )
    checkpoints.check_fits(ckpt_path, task)
    checkpoints.check_same_model(ckpt_path, checkpoint, model)
    task.load_state_dict(checkpoint["state_dict"])
    with ckpt_path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    task = task.to(_device(device)).eval()
    return LoadedModel(task, packing, config, int(checkpoint["global_step"]), digest, path.absolute().parent)


def from_config(
    config: dict[str, Any], vocab_size: int, folder: Path, digest: str, device: torch.device
) -> LoadedModel:
    """Build a model whose backbone reads its own weights, such as a network of another library.

    Args:
        config: nested config with the sections `model` and `data.packing`.
        vocab_size: V.
        folder: of the weights.
        digest: hex SHA-256 of the weights.
        device: of noise and ids.

    Raises:
        InputError: the config is wrong, or the backbone cannot be made.
    """
    packing = build_plugin(Packing, "data.packing", config["data"]["packing"])
    task = build_task({"model": copy.deepcopy(config["model"])}, vocab_size)
    return LoadedModel(task.to(device).eval(), packing, config, 0, digest, folder.absolute())


def _config_path(path: Path) -> Path:
    """Return the config.yaml of a run that is given by its folder or by this file."""
    if not path.exists():
        raise InputError(f"`{path}`: there is no such file or folder. Give the folder of a run, or its config.yaml.")
    if not path.is_dir():
        return path
    if not (config := path / "config.yaml").exists() and (runs := sorted(path.glob("runs/*/config.yaml"))):
        names = ", ".join(one.parent.name for one in runs[:SHOWN_RUNS])
        more = f" and {len(runs) - SHOWN_RUNS} more" if len(runs) > SHOWN_RUNS else ""
        raise InputError(f"`{path}` is a sweep. Give one of its runs in `{path / 'runs'}`: {names}{more}.")
    if not config.exists():
        raise InputError(f"`{path}` holds no `config.yaml`, so it is not the folder of a run.")
    return config


def _check_owner(checkpoint: Path, config: Path) -> None:
    """Refuse a checkpoint in the folder of another run, whose settings and training rows may differ."""
    owner = find_run_folder(checkpoint)
    both = (owner / "config.yaml", config.with_name(FILE))
    if config.name == "config.yaml" and all(path.is_file() for path in both) and not owner.samefile(config.parent):
        raise InputError(
            f"`--ckpt_path {checkpoint}` is a checkpoint of the run `{owner}`, not of `{config.parent}`. Give that run."
        )


def _device(given: str | None) -> torch.device:
    try:
        device = torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
        use_tensor_cores(device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise InputError(f"`--device {given}` cannot be used: {sanitize_message(str(error))[:200]}") from error
    return device
