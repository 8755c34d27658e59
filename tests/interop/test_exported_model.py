"""Exported models become runs again: the same process, rows, tokenizer and numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers

from tests.interop.conftest import network
from tests.support.foreign import logits
from tests.support.hub import CONFIG, OF_GIDD, hub_folder
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.convert import convert
from uddm_lightning.interop.export import export
from uddm_lightning.runs.run import load_run

KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "udlm": (CONFIG, "backbone."),
    "mdlm": ({**CONFIG, "model_type": "mdlm", "time_conditioning": False}, "backbone."),
    "gidd": (OF_GIDD, ""),
}


def exported(folder: Path, kind: str = "udlm", samples: int = 0) -> Path:
    config, prefix = KINDS[kind]
    folder.mkdir(exist_ok=True)
    hub = hub_folder(folder / "hub", network(1), config, prefix=prefix)
    words = {word: one for one, word in enumerate(["[CLS]", "[SEP]", *"abcdefghijklmnopqr"])}
    backend = tokenizers.Tokenizer(models.WordLevel(words, "a"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.add_special_tokens(["[CLS]", "[SEP]"])
    backend.save(str(hub / "tokenizer.json"))
    convert(hub, folder / "run")
    export(load_run(folder / "run", device="cpu", steps=4), folder / "out", samples)
    return folder / "out"


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_export_gives_the_same_logits_and_numbers(tmp_path: Path, kind: str) -> None:
    folder = exported(tmp_path, kind)
    made = convert(folder, tmp_path / "again")
    assert made.layout == "uddm_lightning export"
    before, after = (load_run(tmp_path / name, device="cpu", steps=4) for name in ("run", "again"))
    tokens_BL, noise_B = torch.randint(20, (3, 16)), torch.tensor([0.1, 0.3, 0.6])
    for one, two in ((before.model.task, after.model.task),):
        assert torch.equal(logits(one.backbone, tokens_BL, noise_B), logits(two.backbone, tokens_BL, noise_B))
        assert torch.equal(logits(one.backbone, tokens_BL, noise_B), logits(two.ema.backbone, tokens_BL, noise_B))
        assert (type(one.process), one.objective.t_min) == (type(two.process), two.objective.t_min)
        assert one.parameterization is two.parameterization
    text = ["abcdef", "klmno"]
    for rows in (text, None):  # as text, because NaN is not equal to itself
        first, second = (str(run.entropy(rows, t=[0.5], num_rows=2).to_pylist()) for run in (before, after))
        assert first == second
    words = [run.model.tokenizer(fetch=False) for run in (before, after)]
    assert all(words)
    assert [(one.bos_id, one.eos_id, one.pad_id) for one in words if one] == [(0, 1, None)] * 2


def test_the_card_has_front_matter_and_samples(tmp_path: Path) -> None:
    folder = exported(tmp_path, samples=2)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: uddm_lightning\npipeline_tag: text-generation\ntags:\n")
    assert "- uniform-state-diffusion\n" in card
    drawn = load_run(tmp_path / "run", device="cpu", steps=4).sample(2)
    assert card.count("```text\n") == 2
    assert all(f"```text\n{text}\n```" in card for text in drawn)
    assert "## Samples" not in (exported(tmp_path / "none") / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process": {"class": "os.system"}}, "`process.class` = 'os.system'; known values: UniformProcess"),
        (
            {"process": {"class": "UniformProcess", "schedule": {"class": "x.Y", "eps": 0.1}}},
            "`process.schedule.class`",
        ),
        ({"process": 3}, "`process.class` = nothing; known values: UniformProcess"),
        ({"architecture": {"class": "MLP"}}, "`architecture.class` = 'MLP'; known values: DiT"),
        ({"prediction": "guess"}, "`prediction` = 'guess'; known values: leave-one-out"),
        ({"packing": "subprocess.run"}, "`packing` = 'subprocess.run'"),
        ({"t_min": "0.1"}, "`t_min` = '0.1', and a number is needed"),
        ({"states": 5}, "of shape"),
    ],
)
def test_a_changed_config_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = exported(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as refused:
        convert(folder, tmp_path / "again")
    assert message in str(refused.value)
    assert not (tmp_path / "again" / "config.yaml").exists()
