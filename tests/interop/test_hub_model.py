"""Models in the hub's layout: the references, the mask token, and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import yaml
from safetensors.torch import save_file
from tokenizers import models

from tests.interop.conftest import network
from tests.support.foreign import logits
from tests.support.hub import CONFIG, OF_GIDD, hub_folder, reference_folder, shard, weights_of
from tests.support.toy_worlds import reference
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.convert import convert
from uddm_lightning.interop.export import export
from uddm_lightning.interop.exported import load_exported
from uddm_lightning.interop.hub_model import HubModel
from uddm_lightning.runs.run import Run, load_run

UNKNOWN = "[UNK]"
CLASSES = {"udlm": "UniformProcess", "mdlm": "AbsorbingProcess", "gidd": "HybridProcess"}


def converted(folder: Path, run: Path) -> Run:
    convert(folder, run)
    return load_run(run, device="cpu")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_the_reference_folders_give_the_reference_logits(tmp_path: Path, name: str, sharded: bool) -> None:
    folder, expected = reference_folder(f"hub_{name}", tmp_path), np.load(reference(f"hub_{name}_logits.npz"))
    if sharded:
        shard(folder)
    task = converted(folder, tmp_path / "run").model.task
    assert type(task.process).__name__ == CLASSES[name]
    ids, noise = torch.from_numpy(expected["input_ids"]), torch.from_numpy(expected["t" if name == "gidd" else "sigma"])
    # the noise input must come from the process: alpha at the time that the original network was told
    t_B = noise.double()
    if name == "gidd":
        B = 2 * 0.1 / 0.9
        alpha_B = (1 - t_B) / (1 + B * torch.sqrt(t_B * (1 - t_B)))
    else:
        alpha_B = torch.exp(-t_B if name == "udlm" else torch.full_like(t_B, -0.7))
    for backbone in (task.backbone, task.ema.backbone):
        found = logits(backbone.eval(), ids, task.process.noise_input(alpha_B).float())
        assert torch.allclose(found, torch.from_numpy(expected["logits"]), rtol=0.0, atol=1e-4)


def test_settings_are_read_from_the_folder(tmp_path: Path) -> None:
    given = network(1)
    model = HubModel(hub_folder(tmp_path / "model", given))
    assert (model.vocab_size, model.length, model.step, model.mask_id) == (21, 16, None, None)
    made = model.recipe({}, None)
    assert made.assumed == ["noise.eps", "training.sampling_eps"]
    assert made.config["model"]["process"]["class_path"] == "UniformProcess"
    assert made.config["data"]["packing"]["init_args"] == {"length": 16}
    assert "none is known with this number of ids" in model.notes[-1]
    for name, parameter in given.named_parameters():
        assert torch.equal(model.raw[name], parameter)


def test_settings_of_gidd(tmp_path: Path) -> None:
    model = HubModel(hub_folder(tmp_path / "model", network(1), OF_GIDD, prefix=""))
    assert (model.vocab_size, model.mask_id) == (20, 20)
    config = model.recipe({}, None).config["model"]
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": 1e-4}}
    assert config["process"] == {"class_path": "HybridProcess", "init_args": {"schedule": schedule, "p_uniform": 0.2}}
    assert config["objective"] == {"class_path": "ReweightedNELBO", "init_args": {"t_min": 1e-4}}


@pytest.mark.parametrize(
    ("ids", "kind", "text", "tokenizer"),
    [
        (30_522, "udlm", "lm1b", {"path": "bert-base-uncased"}),
        (50_258, "duo", "openwebtext", {"path": "gpt2", "vocab_size": 50_258}),
        (50_258, "mdlm", "openwebtext", {"path": "gpt2"}),
    ],
)
def test_texts_are_assumed_from_the_number_of_ids(
    tmp_path: Path, ids: int, kind: str, text: str, tokenizer: dict[str, Any]
) -> None:
    config = {**CONFIG, "vocab_size": ids, "model_type": kind, "time_conditioning": None}
    model = HubModel(hub_folder(tmp_path / "model", network(1, ids), config))
    made = model.recipe({}, None)
    assert made.config["data"]["tokenizer"]["init_args"] == tokenizer
    assert made.config["model"]["backbone"]["init_args"]["time_conditioning"] is (kind != "mdlm")
    assert "time_conditioning" in made.assumed
    assert model.notes[-1] == f"the folder names no text; {text} is assumed from the number of ids"


# --------------------------------------------------------------------------------------------------------- mask token


@pytest.mark.parametrize("place", [0, 7, 20])
@pytest.mark.parametrize("named", ["[MASK]", "<hole>"])
def test_the_mask_of_the_tokenizer_becomes_the_last_id(tmp_path: Path, place: int, named: str) -> None:
    given = network(1)
    folder = hub_folder(tmp_path / "model", given, {**OF_GIDD}, prefix="")
    names = ["[UNK]", *"abcdefghijklmnopqrs"]
    names.insert(place, named)
    backend = tokenizers.Tokenizer(models.WordPiece({name: one for one, name in enumerate(names)}, unk_token=UNKNOWN))
    backend.add_special_tokens([named, "s"])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": {"content": named}}))
    model = HubModel(folder)
    assert model.mask_id == place
    assert f"the mask token is id {place}, as its tokenizer says" in model.notes[1]
    run = converted(folder, tmp_path / "run")
    tokenizer = run.model.tokenizer(fetch=False)
    assert tokenizer is not None
    kept = [name for name in names if name != named]
    assert [tokenizer.backend.token_to_id(name) for name in kept] == list(range(20))
    # the network reads and predicts the same tokens under their new ids
    old = torch.tensor([[names.index(name) for name in kept] + [place]])
    new, noise = torch.arange(21)[None], torch.tensor([0.3])
    expected = logits(given.eval(), old, noise)[..., old[0]]
    assert torch.allclose(logits(run.model.task.ema.backbone, new, noise), expected, atol=1e-6)


def test_a_token_in_the_place_of_the_mask_is_taken_out(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "model", network(1), {**CONFIG, "model_type": "mdlm"})
    backend = tokenizers.Tokenizer(models.WordPiece({name: one for one, name in enumerate("[abcdefghijklmnopqrs")}))
    backend.add_special_tokens(["[PAD]"])
    backend.save(str(folder / "tokenizer.json"))
    assert converted(folder, tmp_path / "run").model.tokenizer(fetch=False) is not None


def test_a_smaller_tokenizer_gets_ids_without_a_meaning(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "model", network(1))
    tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token=UNKNOWN)).save(
        str(folder / "tokenizer.json")
    )
    tokenizer = converted(folder, tmp_path / "run").model.tokenizer(fetch=False)
    assert tokenizer is not None
    assert tokenizer.vocab_size == 21
    assert tokenizer.encode(["<unused 5>"]) == [[0]]


# ----------------------------------------------------------------------------------------------------------- refusals


def config(**values: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**CONFIG, **values}))


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        found = weights_of(folder)
        change(found)
        save_file(found, folder / "model.safetensors")

    return write


def tokenizer(content: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        config(model_type="mdlm")(folder)
        (folder / "tokenizer.json").write_text(content)

    return write


NORM = "backbone.blocks.0.norm1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (config(model_type="llama"), "says `model_type` = 'llama', and only UDLM, MDLM, Duo and GIDD are known"),
        (config(model_type=None), "says `model_type` = nothing"),
        (config(model_type="dit"), "says `model_type` = 'dit'"),
        (config(model_type=["\x1b"]), r"says `model_type` = \['\\x1b'\]"),
        (config(cfg=True), "says `cfg` = true"),
        (config(vocab_size="21"), "says `vocab_size` = '21', and a whole number"),
        (config(vocab_size=10**30), "says `vocab_size` = 1000"),
        (config(model_length=None), "says `model_length` = nothing"),
        (config(hidden_dim=10**9), "describe no network: Storage size calculation overflowed"),
        (config(n_blocks=10**9), "says 1000000000 blocks for 31 tensors"),
        (config(n_heads=3), "describe no network: `hidden_size` must be a multiple"),
        (config(dropout="x"), "says `dropout` = 'x', and a number"),
        (config(time_conditioning=1), "says `time_conditioning` = 1, and not true or false"),
        (config(dropout=1.5), r"describe no network: `dropout` must be in \[0, 1\)"),
        (config(vocab_size=22), r"of shape \(21, 16\) in it and of shape \(22, 16\) in our network"),
        (weights(lambda found: found.pop(NORM)), f"`{NORM}` is missing in it"),
        (weights(lambda found: found.update({NORM: torch.ones(15)})), r"of shape \(15,\) in it"),
        (weights(lambda found: found.update(extra=torch.ones(1))), "`extra` is of shape .* and missing in our network"),
        (
            weights(lambda found: found.update({"backbone.rotary_emb.inv_freq": torch.ones(4)})),
            r"its `rotary_emb\.inv_freq` does not belong to 2 attention heads",
        ),
        (
            weights(lambda found: found.update({"model.layers.0.self_attn.q_proj.weight": torch.ones(2)})),
            r"`model\.layers\.\*\.self_attn\.\*` belong to a network like Llama.*The layout of Sumi was not found",
        ),
        (
            weights(lambda found: found[NORM].fill_(torch.nan)),
            r"`blocks\.0\.norm1\.weight` in it holds NaN or infinity",
        ),
        (tokenizer("{}"), r"its `tokenizer\.json` is damaged"),
        (tokenizer("[" * 10**6), r"its `tokenizer\.json` is damaged"),
        (tokenizer('{"model": {"vocab": {"[MASK]": 99}}}'), "the mask token is id 99, and its network has 21 ids"),
        (tokenizer('{"model": {"vocab": {"a": "b"}}}'), r"its `tokenizer\.json` is damaged"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    with torch.no_grad():
        given = network(1)
    folder = hub_folder(tmp_path / "model", given)
    save_file(
        {**weights_of(folder), "backbone.rotary_emb.inv_freq": given.rotary_emb.inv_freq}, folder / "model.safetensors"
    )
    HubModel(folder)
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        convert(folder, tmp_path / "run")
    assert str(folder) in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("kind", ["mdlm", "dit"])
def test_conversion_and_export_keep_the_logits(tmp_path: Path, kind: str) -> None:
    given = network(1)
    settings = OF_GIDD if kind == "dit" else {**CONFIG, "model_type": kind, "time_conditioning": False}
    folder = hub_folder(tmp_path / "model", given, settings, "" if kind == "dit" else "backbone.")
    export(converted(folder, tmp_path / "run"), tmp_path / "exported")
    tokens_BL, noise_B = torch.randint(21, (3, 16)), torch.tensor([1e-3, 0.3, 0.9])
    expected = logits(given, tokens_BL, noise_B if kind == "dit" else torch.zeros(3))
    assert torch.equal(logits(load_exported(tmp_path / "exported"), tokens_BL, noise_B), expected)
    process = json.loads((tmp_path / "exported" / "config.json").read_text())["process"]
    assert (process["class"], process.get("p_uniform")) == (
        ("HybridProcess", 0.2) if kind == "dit" else ("AbsorbingProcess", None)
    )
    card = (tmp_path / "exported" / "README.md").read_text()
    assert f"layout: Hugging Face hub, {'GIDD' if kind == 'dit' else 'MDLM'}." in card
    assert ("sigma_B = torch.tensor([0.5])" in card) == (kind == "dit")


def test_half_precision_is_read(tmp_path: Path) -> None:
    given: DiT = network(1).bfloat16()
    folder = hub_folder(tmp_path / "model", given)
    task = converted(folder, tmp_path / "run").model.task
    for name, parameter in given.named_parameters():
        assert torch.equal(task.backbone.get_parameter(name), parameter.float())
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["backbone_name"] == "udlm"
