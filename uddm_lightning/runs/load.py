"""A trained model from a checkpoint and its config alone: no training data, no trainer."""

from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from uddm_lightning.config.parser import from_yaml, sanitize_message
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.component_spec import class_of
from uddm_lightning.data.corpus import Corpus, cached
from uddm_lightning.data.eval_dataset import draw_keys
from uddm_lightning.data.module import SAMPLES
from uddm_lightning.data.noise_rows import uniform_rows
from uddm_lightning.data.packing import Packing
from uddm_lightning.data.tokenizers import Tokenizer
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.instantiate import build_plugin, build_task
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.task import DiffusionTask

DECISIVE = ("process", "backbone", "objective", "sampler", "eval_dtype")  # parts of a model that decide a sample


class LoadedModel(NamedTuple):
    """A model with its weights.

    Attributes:
        task: holds averaged and raw weights.
        packing: of the rows it was trained on.
        tokenizer_spec: class path and arguments of its tokenizer.
        seed: of the run.
        threads: of the run, part of what makes numbers repeat.
        step: optimizer steps behind the weights.
        digest: hex SHA-256 of the checkpoint.
        run: the run's folder.
        cache_dir: where its text was prepared; None is the usual place.
        model: what decides a sample, as plain data.
    """

    task: DiffusionTask
    packing: Packing
    tokenizer_spec: dict[str, Any]
    seed: int
    threads: int
    step: int
    digest: str
    run: Path
    cache_dir: str | None
    model: dict[str, Any]

    @property
    def length(self) -> int:
        """L."""
        return self.packing.length

    def tokenizer(self, fetch: bool) -> Tokenizer | None:
        """What the ids mean: from the prepared text, or where a config tells it all; None where neither is the case.

        Args:
            fetch: ask the hub for it if need be.
        """
        if corpus := self.corpus():
            return corpus.tokenizer
        with suppress(InputError, ImportError, AttributeError, KeyError, ValueError):
            kind, arguments = class_of(self.tokenizer_spec), self.tokenizer_spec.get("init_args") or {}
            if not fetch and kind.downloads(**arguments):
                return None
            tokenizer = build_plugin(Tokenizer, self.tokenizer_spec)
            assert isinstance(tokenizer, Tokenizer)
            tokenizer.fit([])  # an alphabet or a vocabulary that is given does not change by it
            return tokenizer if tokenizer.vocab_size == self.task.process.vocab_size else None
        return None

    def corpus(self) -> Corpus | None:
        """The run's prepared text, if it lies in the cache; it is never built."""
        manifest = run_folder.read_manifest(self.run)
        return cached(manifest, self.cache_dir) if manifest else None


def load(config: Path, given: str, steps: int | None = None, device: str | None = None) -> LoadedModel:
    """Makes the model that a config describes and gives it the weights of a checkpoint.

    Args:
        config: a run's config.yaml, or its folder.
        given: path of a checkpoint, or "last" or "previous" of the run that the config lies in.
        steps: of the reverse chain; None keeps the config's.
        device: such as "cuda:1"; None takes a GPU where there is one.

    Raises:
        InputError: the config cannot be read or says too little, the checkpoint is none or does not fit it, or there is
            nothing trained in the model.
    """
    config = config / "config.yaml" if config.is_dir() else config
    settings = _read(config)
    path = checkpoints.resolve(given, config.parent)
    checkpoint = checkpoints.load(path)
    sections = [settings.get(name) for name in ("model", "data")]
    model, data = (section if isinstance(section, dict) else {} for section in sections)
    for missing, section in (("model", model), ("data.packing", data.get("packing"))):
        if not section:
            raise InputError(f"`{config}` says nothing of `{missing}`. Use the `config.yaml` beside the checkpoint.")
    packing = build_plugin(Packing, data["packing"])
    if steps is not None:
        model["sampler"] = {**model["sampler"], "init_args": {**model["sampler"].get("init_args", {}), "steps": steps}}
    vocab_size = checkpoint["hyper_parameters"].get("vocab_size")
    if type(vocab_size) is not int:
        raise InputError(f"`--ckpt_path {path}` does not say how many ids its vocabulary has.")
    task = build_task({"model": {**model, "compile": False}}, vocab_size)
    if not task.parameter_count:
        raise InputError(
            f"`model.backbone` is {task.backbone_name}, which has no weights to load: what it knows is the text. "
            "Measure it with `uddm validate -c CONFIG --out RUN`."
        )
    checkpoints.check_fits(path, task)
    checkpoints.check_same_model(path, checkpoint, model)
    task.load_state_dict(checkpoint["state_dict"])
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return LoadedModel(
        task.to(_device(device)).eval(),
        packing,
        data.get("tokenizer") or {},
        int(settings.get("seed_everything") or 0),
        int(settings.get("threads") or 1),
        int(checkpoint["global_step"]),
        digest,
        config.absolute().parent,
        data.get("cache_dir"),
        {name: model[name] for name in DECISIVE if name in model},
    )


def draw(trained: LoadedModel, denoiser: Denoiser, seed: int, ids_B: Tensor) -> Tensor:
    """Rows (B, L) that the model writes from pure noise at t = 1; each is a function of weights, seed and its number.

    With the seed of the run these are the rows that its probes measure.
    """
    task, device = trained.task, trained.task.device
    noise_BL = uniform_rows(task.process.vocab_size, trained.length, seed, ids_B).to(device)
    keys_B = draw_keys(seed, SAMPLES, ids_B, torch.zeros_like(ids_B)).to(device)
    return task.sampler.sample(denoiser, noise_BL, keys_B)


def _read(config: Path) -> dict[str, Any]:
    try:
        content = from_yaml(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"`{config}` cannot be read as a config: {sanitize_message(str(error))}") from error
    return content if isinstance(content, dict) else {}


def _device(given: str | None) -> torch.device:
    try:
        device = torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise InputError(f"`--device {given}` cannot be used: {sanitize_message(str(error))[:200]}") from error
    return device
