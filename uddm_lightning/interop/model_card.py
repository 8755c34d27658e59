"""Write the model card: architecture, regime, origin and use of a model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uddm_lightning.interop.exported import CONFIG, WEIGHTS
from uddm_lightning.report.measured import measured_paragraphs
from uddm_lightning.runs.manifest import CONVERTED, converted_from, read_manifest

UNKNOWN = "**Not measured.** `uddm validate` measures it."


FRONT_MATTER = """\
---
library_name: uddm_lightning
pipeline_tag: text-generation
tags:
- discrete-diffusion
- {noise}
- safetensors
---"""
NOISES = {"UniformProcess": "uniform-state-diffusion", "AbsorbingProcess": "masked-diffusion"}


def card(config: Mapping[str, Any], run: Path, samples: Sequence[str] = ()) -> str:
    """Return the README.md of an exported model.

    Args:
        config: content of its config.json.
        run: folder of the run that it comes from, with measurements.csv if it was measured.
        samples: texts that the model has drawn.
    """
    is_foreign = converted_from(run) is not None
    measured = list(measured_paragraphs(run, config["weights"], config["step"], is_foreign)) or [UNKNOWN]
    front = FRONT_MATTER.format(noise=NOISES.get(config["process"]["class"], "hybrid-diffusion"))
    head = [front, *_head(config), "## Memory or generalization, as measured", *measured]
    blocks = [*head, *_samples(samples), *_origin(run), *_use(config)]
    return "\n\n".join(blocks) + "\n"


def _head(config: Mapping[str, Any]) -> Iterator[str]:
    network, process = config["architecture"], config["process"]
    yield f"# {config['name']}"
    yield "A discrete diffusion language model, exported by uddm_lightning."
    shape = f"{network['hidden_size']} wide, {network['n_blocks']} block(s), {network['n_heads']} head(s)"
    table = {
        "network": f"{network['class']}, {shape}, {config['parameters']:,} parameters",
        "text": f"rows of {config['length']} tokens, {config['vocab_size']:,} ids",
        "process": f"{process['class']}, {process['schedule']['class']}, eps = {process['schedule']['eps']:g}",
        "logits": f"{config['prediction']} predictions",
        "weights": f"{config['weights']}, after {config['step']:,} steps",
        "tokenizer": config["tokenizer"] or "not available when this was exported",
    }
    yield "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in table.items())])


def _samples(samples: Sequence[str]) -> Iterator[str]:
    """Yield texts that the model has drawn, as code, so that no sign in them is formatted."""
    if samples:
        yield "## Samples"
        yield "The first rows that it draws with the seed of its run, not selected."
        yield from ("```text\n{}\n```".format(text.replace("```", "'''")) for text in samples)


def _origin(run: Path) -> Iterator[str]:
    """Yield the training data, as far as it is known."""
    manifest = read_manifest(run)
    yield "## Trained on"
    converted = manifest.get(CONVERTED)
    if isinstance(converted, dict):
        origin = f"Converted from `{converted.get('file')}` (sha256 `{converted.get('sha256')}`)"
        yield f"{origin}, layout: {converted.get('layout')}."
        said = [
            f"* `{name}`: {value if value is not None else 'not said'} (by the file's own account)"
            for name, value in converted.get("training_facts", {}).items()
        ]
        yield "\n".join([*said, "* which rows: not known"])
    elif manifest:
        pool = manifest["splits"]["train"]["rows"]
        yield f"{manifest['train_size']:,} rows of a pool of {pool:,}, seed {manifest['seed']}."
        source = f"* source: `{manifest['source']['class_path']}`, corpus `{manifest['corpus']}`"
        yield f"{source}\n* subset `{manifest['subset']}`, rule: {manifest['rule']}"
    else:
        yield "Not known: the run has no manifest."
    yield "Other uses, biases and the licence of the text are not known to the program that wrote this card."


def _use(config: Mapping[str, Any]) -> Iterator[str]:
    schedule = config["process"]["schedule"]
    sigma = f"[...])  # -ln alpha_t of the {schedule['class']}"
    if schedule["class"] == "LogLinearSchedule":
        sigma = f"[-math.log(1 - (1 - {schedule['eps']:g}) * 0.5)])"
    if config["process"]["class"] == "HybridProcess":
        sigma = "[0.5])"  # the network reads t itself
    yield "## Use"
    yield f"`{WEIGHTS}` holds the weights by the parameter names of Duo's DiT, `{CONFIG}` everything else."
    yield f"""```python
import math, torch
from uddm_lightning.interop import load_exported

network = load_exported(".")
tokens_BL = torch.randint({config["states"]}, (1, {config["length"]}))  # noisy ids at t = 0.5
sigma_B = torch.tensor({sigma}
logits_BLV = network.head(network(tokens_BL, sigma_B))
```"""
