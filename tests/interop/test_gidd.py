"""Folders of gidd-unif and gidd-mask: weights, mask token, noise, meaning of the output, and refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from tokenizers import models, pre_tokenizers
from torch import Tensor

from tests.support.command_line import Outcome
from tests.support.hub import HOSTILE, shard
from uddm_lightning.backbones import GiddTransformer
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.convert import convert
from uddm_lightning.interop.gidd import GiddModel
from uddm_lightning.interop.hub_model import HubModel
from uddm_lightning.interop.open_model import ModelOptions, open_model
from uddm_lightning.interop.stored_gidd import StoredGidd
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.runs.run import load_run

STATES, MASK, LENGTH = 15, 3, 12
WORDS = ["<s>", "</s>", "<pad>", "<mask>", *"abcdefghijk"]
CONFIG = {
    "model_type": "gidd",
    "auto_map": {"AutoConfig": "hostile.Config", "AutoModelForCausalLM": "hostile.Model"},
    "vocab_size": STATES,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": LENGTH,
    "head_scaling": 2.0,
    "attention_bias": True,
    "noise_type": 1000.0,
    "min_log_snr": -9.0,
    "max_log_snr": 9.0,
}


def save_gidd(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> GiddTransformer:
    """Write a folder with random weights and code beside them; return the network with all ids."""
    folder.mkdir()
    torch.manual_seed(0)
    network = GiddTransformer(STATES, 16, 2, 2, 24, attention_bias=True, head_scale=2.0).to(dtype).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    named = {name if name.startswith("lm_head") else f"model.{name}": w for name, w in network.state_dict().items()}
    save_file(named, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (folder / "hostile.py").write_text(HOSTILE)
    backend = tokenizers.Tokenizer(models.WordLevel({word: one for one, word in enumerate(WORDS)}, "<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.add_special_tokens(WORDS[:4])
    backend.save(str(folder / "tokenizer.json"))
    return network


def logits(network: Any, tokens_BL: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.head(network(tokens_BL, torch.ones(len(tokens_BL))))
    return found


HERE = torch.tensor([one for one in range(STATES) if one != MASK])  # id of the folder by id here


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("opened", ["as stored", "converted"])
def test_the_mask_is_left_out_and_other_predictions_stay(tmp_path: Path, opened: str, sharded: bool) -> None:
    network = save_gidd(tmp_path / "gidd")
    if sharded:
        shard(tmp_path / "gidd")
    if opened == "converted":
        convert(tmp_path / "gidd", tmp_path / "run")
        run = load_run(tmp_path / "run", device="cpu")
    else:
        run = open_model(tmp_path / "gidd", ModelOptions(device="cpu"))
        assert isinstance(run.denoiser.backbone, StoredGidd)
    process, tokens_BL = run.model.task.process, torch.arange(24).view(2, 12) % (STATES - 1)
    assert (type(process).__name__, process.vocab_size, run.model.length) == ("UniformProcess", STATES - 1, LENGTH)
    assert float(process.level(torch.tensor(1.0)).alpha) == pytest.approx(1 / (1 + math.exp(9)))
    assert run.model.task.objective.t_min == pytest.approx(1 / (1 + math.exp(9)))
    for backbone in (run.denoiser.backbone, run.model.task.backbone):
        expected = logits(network, HERE[tokens_BL])[..., HERE]
        assert torch.allclose(logits(backbone, tokens_BL).float(), expected, atol=1e-5)
    tokenizer = run.model.tokenizer(fetch=False)
    assert tokenizer is not None
    assert tokenizer.encode(["abk"]) == [[3, 4, 13]]
    assert "<mask>" not in tokenizer.backend.get_vocab(with_added_tokens=True)


def test_mask_noise_keeps_the_mask_as_the_last_id(tmp_path: Path) -> None:
    network = save_gidd(tmp_path / "gidd", noise_type=-1000.0)
    run = open_model(tmp_path / "gidd", ModelOptions(device="cpu"))
    process, moved = run.model.task.process, torch.cat([HERE, torch.tensor([MASK])])
    assert (type(process).__name__, process.vocab_size, process.mask_id) == ("AbsorbingProcess", 14, 14)
    tokens_BL = torch.arange(LENGTH)[None].clone()
    tokens_BL[:, ::2] = 14
    found = logits(run.denoiser.backbone, tokens_BL)
    assert torch.allclose(found, logits(network, moved[tokens_BL])[..., moved], atol=1e-5)


def test_the_loss_of_its_training_is_the_nelbo_up_to_a_factor_of_time() -> None:
    """So the network predicts leave-one-out. Source of the loss: `diffusion_trainer/loss.py` of gidd-easydel."""
    V, alpha = 5, 0.3
    torch.manual_seed(0)
    process = UniformProcess(V, LogLinearSchedule())
    x0, xt = (part.flatten() for part in torch.meshgrid(torch.arange(V), torch.arange(V), indexing="ij"))
    logp_NV = torch.randn(V * V, V, dtype=torch.float64).log_softmax(1)
    theirs = []
    for one, clean, shown in zip(logp_NV.exp(), x0.tolist(), xt.tolist(), strict=True):
        q = [alpha * (v == clean) + (1 - alpha) / V for v in range(V)]
        q_p = [alpha * float(one[v]) + (1 - alpha) / V for v in range(V)]
        kl = sum(a * math.log(a / b) for a, b in zip(q, q_p, strict=True))
        ratio = q[shown] / q_p[shown]
        weight = (1 / V) / (1 / V + alpha / (1 - alpha) * (clean == shown))
        theirs.append(weight * (kl + ratio - math.log(ratio) - 1))
    level = torch.full((V * V,), alpha, dtype=torch.float64)
    ours_N = process.nelbo(logp_NV, NoisyTokens(x0, xt, level, -torch.ones_like(level)))
    factor_N = ours_N / torch.tensor(theirs, dtype=torch.float64)
    assert torch.allclose(factor_N, factor_N[0].expand(V * V), rtol=1e-9)


def test_it_is_probed_and_sampled_from_the_command_line(
    tmp_path: Path, uddm: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_gidd(tmp_path / "gidd", torch.bfloat16)
    more = ("--device", "cpu", "--steps", 4)
    outcome = uddm("probe", tmp_path / "gidd", *more, "-n", 64, "--length", 8, "--html", tmp_path / "page.html")
    assert outcome.status == 0, outcome.err
    assert "verdict:" in outcome.out
    assert "weights as stored (BF16); no code of the folder is run" in outcome.err
    assert "the mask token is id 3, as its tokenizer says; it is left out" in outcome.err
    assert "rows of 8 tokens; the network has 12 positions" in outcome.err
    assert (tmp_path / "page.html").exists()
    outcome = uddm("sample", tmp_path / "gidd", *more, "-n", 3, "--out", tmp_path / "samples.parquet")
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "ran").exists()


def test_a_mask_that_no_tokenizer_names_is_the_usual_one(tmp_path: Path) -> None:
    save_gidd(tmp_path / "gidd")
    (tmp_path / "gidd/tokenizer.json").unlink()
    model = GiddModel(tmp_path / "gidd")
    assert model.mask_id == 3
    assert "as in the code of the model, because no tokenizer names it" in model.notes[1]


def test_missing_settings_have_the_values_of_the_code(tmp_path: Path) -> None:
    save_gidd(tmp_path / "gidd", min_log_snr=None, max_log_snr=None)
    model = GiddModel(tmp_path / "gidd")
    assert model.eps == pytest.approx(1 / (1 + math.exp(9)))
    assert {"min_log_snr", "max_log_snr", "attn_soft_cap", "rope_theta"} <= set(model.recipe({}, None).assumed)


def weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors")

    return write


def config(**values: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**CONFIG, **values}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (config(noise_type=0.0), "says `noise_type` = 0, a mixture of mask and uniform noise"),
        (config(noise_type=None), "says `noise_type` = 0, a mixture"),
        (config(noise_type="x"), "says `noise_type` = 'x', and a number"),
        (config(min_log_snr=9.0), "says `min_log_snr` = 9 and `max_log_snr` = 9"),
        (config(min_log_snr=-1e6), r"says `min_log_snr` = -1e\+06 and `max_log_snr` = 9"),
        (config(is_causal=True), "says `is_causal` = True, which is not known"),
        (config(rope_scaling={"type": "yarn"}), "says `rope_scaling` = "),
        (config(head_dim=4), "says `head_dim` = 4, not 8"),
        (config(use_qk_norm=1), "says `use_qk_norm` = 1, and not true or false"),
        (config(weight_scaling="fan_out"), "says `weight_scaling` = 'fan_out', and a number"),
        (config(num_hidden_layers=10**6), "says 1000000 blocks for 27 tensors"),
        (config(hidden_size=2 * 10**9), "describe no network"),
        (config(num_attention_heads=3), "describe no network: `hidden_size` must be a multiple"),
        (config(vocab_size=16), r"`model\.embed_tokens\.weight` is of shape \(15, 16\) in it and of shape \(16, 16\)"),
        (config(attention_bias=False), r"`model\.layers\.0\.self_attn\.k_bias` is of shape .* and missing in our"),
        (weights(lambda found: found.pop("model.norm.weight")), r"`model\.norm\.weight` is missing in it"),
        (weights(lambda found: found["model.norm.weight"].fill_(torch.nan)), r"`norm\.weight` in it holds NaN"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), r"its `tokenizer\.json` is damaged"),
        (
            lambda folder: (folder / "tokenizer.json").write_text('{"model": {"vocab": {"<mask>": 99}}}'),
            "the mask token is id 99, and its network has 15 ids",
        ),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    save_gidd(tmp_path / "gidd")
    change(tmp_path / "gidd")
    with pytest.raises(InputError, match=message):
        open_model(tmp_path / "gidd", ModelOptions(device="cpu"))


def test_options_that_do_not_suit_it(tmp_path: Path) -> None:
    save_gidd(tmp_path / "gidd")
    with pytest.raises(InputError, match="`--prompt` is for models that read a prompt"):
        open_model(tmp_path / "gidd", ModelOptions(device="cpu", prompt="a"))
    with pytest.raises(InputError, match=r"`--length 99`: .* has 12 positions"):
        open_model(tmp_path / "gidd", ModelOptions(device="cpu", length=99))


def test_weights_that_fit_on_no_single_device_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_gidd(tmp_path / "gidd")
    monkeypatch.setattr("uddm_lightning.interop.pretrained.place", lambda needs, given, free: "auto")
    monkeypatch.setattr("uddm_lightning.interop.pretrained.measured_speed", lambda dtype, device: 1e9)
    with pytest.raises(InputError, match="more than one device has free; only networks of `transformers`"):
        open_model(tmp_path / "gidd")


def test_other_networks_like_llama_are_refused_by_name(tmp_path: Path) -> None:
    save_gidd(tmp_path / "sumi", model_type="sumi")
    with pytest.raises(InputError, match=r"only gidd-unif and gidd-mask .* The layout of Sumi was not found in public"):
        HubModel(tmp_path / "sumi")
