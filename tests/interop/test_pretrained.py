"""Models of `transformers`: their predictions, their rows and samples, and refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.pretrained import (
    LENGTH,
    MASK,
    STATES,
    WORDS,
    save_block_diffusion,
    save_masked_lm,
    transformers,
)
from tests.support.simulated_gpus import SimulatedGpus
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.hub_folder import HubFolder
from uddm_lightning.interop.masked_lm import MaskedLM
from uddm_lightning.interop.open_model import ModelOptions, open_model
from uddm_lightning.interop.pretrained import load_pretrained
from uddm_lightning.interop.pretrained_backbone import memory_budget
from uddm_lightning.interop.pretrained_settings import PretrainedOptions
from uddm_lightning.runs.run import Run

CPU = ModelOptions(device="cpu", steps=4)


def opened(folder: Path, **options: Any) -> Run:
    return open_model(folder, CPU._replace(**options))


# ------------------------------------------------------------------------------------------------------- masked models


def test_a_masked_model_predicts_as_transformers_does(tmp_path: Path) -> None:
    network = save_masked_lm(tmp_path / "bert")
    run = opened(tmp_path / "bert")
    assert isinstance(run.denoiser.backbone, MaskedLM)
    process = run.model.task.process
    assert (type(process).__name__, process.vocab_size, process.mask_id) == ("AbsorbingProcess", 31, 31)
    here = [*range(MASK), *range(MASK + 1, STATES)]  # id of the network by id of a clean token here
    xt_BL = torch.randint(0, 32, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    xt_BL[:, ::2] = process.mask_id
    theirs_BL = torch.tensor([*here, MASK])[xt_BL]
    with torch.no_grad():
        expected = network(input_ids=theirs_BL).logits[:, :, here].log_softmax(-1)

    def pick(logits_CV: torch.Tensor, x_C: torch.Tensor, place_C: torch.Tensor) -> tuple[torch.Tensor]:
        return (logits_CV.log_softmax(1).gather(1, place_C[:, None])[:, 0],)

    for one in range(0, 31, 5):
        found = run.denoiser(pick, xt_BL, torch.full((3,), 0.5), None, torch.full_like(xt_BL, one))[0]
        assert torch.allclose(found, expected[:, :, one], atol=1e-5)


@pytest.mark.parametrize("save", [save_masked_lm, save_block_diffusion])
def test_padding_is_not_seen(tmp_path: Path, save: Callable[[Path], Any]) -> None:
    save(tmp_path / "model")
    backbone = opened(tmp_path / "model").denoiser.backbone
    tokens_BL, valid_BL = torch.arange(LENGTH)[None], torch.arange(LENGTH)[None] < 7
    other_BL = tokens_BL.where(valid_BL, 20)
    with torch.no_grad():
        first, second = (backbone(one, torch.ones(1), valid_BL)[valid_BL] for one in (tokens_BL, other_BL))
        seen = backbone(other_BL, torch.ones(1))[valid_BL]
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(first, seen, atol=1e-3)


def test_a_masked_model_is_measured_on_samples_and_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_masked_lm(tmp_path / "bert")
    run = opened(tmp_path / "bert")
    said = capsys.readouterr().err
    assert "the mask token is id 3; here it is the last one, 31" in said
    assert "no code of the folder is run" in said
    own = run.entropy(t=[0.5], num_rows=4).to_pylist()[0]
    text = run.entropy(["abcabcabc", "wvutsr"], t=[0.5]).to_pylist()[0]
    for record in (own, text):
        assert 0.0 < record["entropy"] < math.log(31)
    assert len(run.sample(2)) == 2
    tokenizer = run.model.tokenizer(fetch=False)
    assert tokenizer is not None
    assert tokenizer.decode(tokenizer.encode(["abc"])[0]).replace(" ", "") == "abc"
    assert "[MASK]" not in tokenizer.backend.get_vocab(with_added_tokens=True)
    assert tokenizer.vocab_size == STATES - 1 > len(WORDS) - 1


def test_a_network_without_its_head_is_refused(tmp_path: Path) -> None:
    network = save_masked_lm(tmp_path / "bert")
    network.bert.save_pretrained(tmp_path / "bert")
    config = json.loads((tmp_path / "bert/config.json").read_text())
    (tmp_path / "bert/config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(InputError, match=r"lacks \d weights of `AutoModelForMaskedLM`, such as `?cls\.predictions"):
        opened(tmp_path / "bert")


def test_a_mask_that_no_tokenizer_names_is_refused(tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    (tmp_path / "bert/tokenizer.json").unlink()
    (tmp_path / "bert/tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="no tokenizer in it names the mask token"):
        opened(tmp_path / "bert")


def test_a_vocabulary_file_serves_as_tokenizer(tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    (tmp_path / "bert/tokenizer.json").unlink()
    (tmp_path / "bert/tokenizer_config.json").unlink()
    (tmp_path / "bert/vocab.txt").write_text("\n".join(WORDS))
    run = opened(tmp_path / "bert")
    tokenizer = run.model.tokenizer(fetch=False)
    assert tokenizer is not None
    assert tokenizer.decode(tokenizer.encode(["a b"])[0]) == "a b"


# ------------------------------------------------------------------------------------------------------ DiffusionGemma


@pytest.mark.parametrize("prompt", [None, "abc"])
def test_block_diffusion_predicts_as_transformers_does(tmp_path: Path, prompt: str | None) -> None:
    network = save_block_diffusion(tmp_path / "gemma")
    run = opened(tmp_path / "gemma", prompt=prompt)
    ids = [2, *([] if prompt is None else [4, 5, 6])]
    backbone, process = run.denoiser.backbone, run.model.task.process
    assert (type(process).__name__, process.vocab_size, run.model.length) == ("UniformProcess", 24, LENGTH)
    xt_BL = torch.randint(0, 24, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(input_ids=torch.tensor([ids]).expand(3, -1), decoder_input_ids=xt_BL).logits
        for _ in range(2):  # the prompt is encoded once
            assert torch.allclose(backbone.head(backbone(xt_BL, torch.ones(3)).flatten(0, 1)), expected.flatten(0, 1))
        one = backbone.head(backbone(xt_BL[:1], torch.ones(1))[0])
    assert torch.allclose(one, expected[0], atol=1e-5)


def test_its_posterior_becomes_a_leave_one_out_prediction(tmp_path: Path) -> None:
    """The judge: p(v) = posterior(v) / q(x_t | v), normalised, in float64."""
    network = save_block_diffusion(tmp_path / "gemma")
    run = opened(tmp_path / "gemma")
    xt_BL = torch.randint(0, 24, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([[2], [2]]), decoder_input_ids=xt_BL).logits.double()
    alpha = 1 - (1 - 1e-3) * 0.4
    noise = torch.full((24, 24), (1 - alpha) / 24, dtype=torch.float64) + alpha * torch.eye(24)  # q(x_t | v), (v, x_t)
    expected = logits.softmax(-1) / noise.T[xt_BL]
    expected = -(expected / expected.sum(-1, keepdim=True)).xlogy(expected / expected.sum(-1, keepdim=True)).sum(-1)

    def entropy(logits_CV: torch.Tensor, x_C: torch.Tensor) -> tuple[torch.Tensor]:
        logp_CV = logits_CV.double().log_softmax(1)
        return (-(logp_CV.exp() * logp_CV).sum(1),)

    found = run.denoiser(entropy, xt_BL, torch.full((2,), 0.4, dtype=torch.float64), None)[0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_samples_come_from_generate_and_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    network = save_block_diffusion(tmp_path / "gemma")
    run = opened(tmp_path / "gemma")
    before = torch.random.get_rng_state()
    rows = run.sample(3, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    assert rows == opened(tmp_path / "gemma").sample(4, seed=5)[:3]
    assert rows != run.sample(3, seed=6)
    assert run.model.task.sampler.name == "generate"
    canvas_L = torch.arange(LENGTH)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = network.generate(
            input_ids=torch.tensor([[2]]),
            decoder_input_ids=canvas_L[None],
            max_new_tokens=LENGTH,
            max_denoising_steps=4,
        ).sequences[0, 1:]
    assert run.denoiser.backbone.generate(canvas_L, 7, 4).tolist() == expected.tolist()  # type: ignore[operator]  # of BlockDiffusion


def test_block_diffusion_is_measured_in_its_own_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_block_diffusion(tmp_path / "gemma", torch.bfloat16)
    run = opened(tmp_path / "gemma")
    said = capsys.readouterr().err
    assert "weights as stored (BF16)" in said
    assert "self-conditioning is off" in said
    assert "alpha_t is that of the noise that is applied here" in said
    record = run.entropy(t=[0.5], num_rows=2).to_pylist()[0]
    assert 0.0 < record["entropy"] <= math.log(24)
    assert record["sampler"] == "generate"
    assert 0.0 < run.entropy(["abc abd"], t=[0.5]).to_pylist()[0]["entropy"] <= math.log(24)
    assert {weight.dtype for weight in run.denoiser.backbone.network.parameters()} == {torch.bfloat16}  # type: ignore[union-attr,operator]  # a module of transformers


# --------------------------------------------------------------------------------------------------- several devices


@pytest.mark.parametrize("save", [save_masked_lm, save_block_diffusion])
def test_weights_that_do_not_fit_into_memory_are_read_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], Any]
) -> None:
    pytest.importorskip("accelerate", reason="needs the extra `hub`")
    save(tmp_path / "model")
    whole = opened(tmp_path / "model")
    stored = sum(one.numel() * one.element_size() for one in load_file(tmp_path / "model/model.safetensors").values())
    budget = {"cpu": stored // 2}
    monkeypatch.setattr("uddm_lightning.interop.pretrained_backbone.memory_budget", lambda: budget)
    run = open_model(tmp_path / "model", CPU._replace(device="auto"))
    places: Any = run.denoiser.backbone.network.hf_device_map  # type: ignore[union-attr]  # of a module of transformers
    assert "disk" in {str(device) for device in places.values()}
    expected, found = (one.entropy(["abcabcabc", "rqponm"], t=[0.9]).to_pylist()[0]["entropy"] for one in (whole, run))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("save", "first"), [(save_masked_lm, 0.9), (save_block_diffusion, 0.3)])
@pytest.mark.parametrize("padded", [False, True])
def test_a_network_on_two_gpus_predicts_as_on_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], Any], first: float, padded: bool
) -> None:
    """The GPUs are simulated; `first`: share of the weights that the first has room for."""
    accelerate = pytest.importorskip("accelerate", reason="needs the extra `hub`")
    planned = pytest.importorskip("transformers.integrations.accelerate")
    network = save(tmp_path / "model").requires_grad_(False)
    network.set_experts_implementation("eager")  # the other one asks for the type of the device
    size = sum(one.numel() * one.element_size() for one in network.parameters())
    budget = {0: int(first * size), 1: size, "cpu": size}
    places = planned._get_device_map(network, "auto", budget, None)
    assert {0, 1} == set(places.values())
    whole, backbone = (opened(tmp_path / "model").denoiser.backbone for _ in range(2))
    x_BL = torch.randint(0, 24, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    valid_BL = torch.arange(LENGTH) < torch.tensor([[LENGTH], [7], [9]]) if padded else None
    with torch.no_grad():
        expected = whole.head(whole(x_BL, torch.ones(3), valid_BL).flatten(0, 1))
        monkeypatch.setattr(backbone, "_held", (network,))
        with SimulatedGpus() as devices:
            accelerate.dispatch_model(network, places, skip_keys=network._skip_keys_device_placement)
            assert {devices.place_of(one) for one in network.parameters()} == {"cuda:0", "cuda:1"}
            for name, buffer in list(backbone.named_buffers()):
                backbone.register_buffer(name, buffer.to("cuda:0"), persistent=False)
            there = None if valid_BL is None else valid_BL.to("cuda:0")
            hidden = backbone(x_BL.to("cuda:0"), torch.ones(3, device="cuda:0"), there)
            found = backbone.head(hidden.flatten(0, 1))
            assert [devices.place_of(one) for one in (hidden, found)] == ["cuda:0", "cuda:0"]
    torch.testing.assert_close(found, expected)


def test_the_simulated_gpus_refuse_tensors_of_two_devices() -> None:
    with SimulatedGpus():
        one, two = torch.ones(2, device="cuda:0"), torch.ones(2).to(torch.device("cuda:1"))
        assert (one + one.mean()).device == torch.device("cuda:0")
        with pytest.raises(RuntimeError, match="has tensors on cuda:0, cuda:1"):
            one + two


def test_the_budget_leaves_room_for_the_work_on_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uddm_lightning.interop.pretrained_backbone.free_memory", lambda: {"cpu": 10 * 2**30})
    assert memory_budget()["cpu"] == 8 * 2**30


# ------------------------------------------------------------------------------------------------------------ refusals


def test_options_that_do_not_suit_the_model(tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    save_block_diffusion(tmp_path / "gemma")
    with pytest.raises(InputError, match="`--prompt` is for models that read a prompt"):
        opened(tmp_path / "bert", prompt="a")
    with pytest.raises(InputError, match=r"`--length 99`: .* has 12 positions"):
        opened(tmp_path / "bert", length=99)
    with pytest.raises(InputError, match=r"`--length 5`: the canvas of .* has 12 positions"):
        opened(tmp_path / "gemma", length=5)
    with pytest.raises(InputError, match="`--ckpt_path previous` is for runs"):
        opened(tmp_path / "gemma", ckpt_path="previous")
    with pytest.raises(InputError, match="`--revision main` is for OWNER/NAME"):
        opened(tmp_path / "gemma", revision="main")
    with pytest.raises(InputError, match=r"`--weights raw`: .* has one set of weights"):
        opened(tmp_path / "gemma", weights="raw")


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "experts_implementation"])
def test_settings_that_fetch_code_are_refused(tmp_path: Path, key: str) -> None:
    save_block_diffusion(tmp_path / "gemma")
    path = tmp_path / "gemma/config.json"
    config = json.loads(path.read_text())
    config["text_config"][key] = "owner/kernels"
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"asks for code from the hub in `{key}`"):
        opened(tmp_path / "gemma")


def test_an_unknown_class_in_the_generation_config_is_not_called(tmp_path: Path) -> None:
    save_block_diffusion(tmp_path / "gemma")
    (tmp_path / "gemma/generation_config.json").write_text(json.dumps({"sampler_config": {"_cls_name": "copy"}}))
    with pytest.raises(InputError, match="names an unknown sampler"):
        opened(tmp_path / "gemma")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    weights = load_file(tmp_path / "bert/model.safetensors")
    weights["bert.embeddings.LayerNorm.weight"][0] = math.nan
    save_file(weights, tmp_path / "bert/model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"`bert\.embeddings\.LayerNorm\.weight` in it holds NaN"):
        opened(tmp_path / "bert")


def test_code_of_the_folder_is_run_only_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = transformers()
    monkeypatch.setattr(library.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    save_masked_lm(tmp_path / "bert")
    path, ran = tmp_path / "bert/config.json", tmp_path / "ran"
    remote = {"AutoConfig": "model.Config", "AutoModelForMaskedLM": "model.Model"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": remote}))
    code = "from transformers import BertConfig, BertForMaskedLM\n\nclass Config(BertConfig):\n    pass\n"
    code += "\nclass Model(BertForMaskedLM):\n    config_class = Config\n"
    code += f"\nopen({str(ran)!r}, 'w').close()\n"
    (tmp_path / "bert/model.py").write_text(code)
    opened(tmp_path / "bert")
    assert not ran.exists()
    capsys.readouterr()
    opened(tmp_path / "bert", trust_remote_code=True)
    assert ran.exists()
    assert "THE CODE OF THE FOLDER IS RUN" in capsys.readouterr().err


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_masked_lm(tmp_path / "bert")
    folder = HubFolder(tmp_path / "bert")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs `transformers`: pip install 'uddm-lightning\[hub\]'"):
        load_pretrained(folder, PretrainedOptions())


def test_an_old_library_lacks_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_block_diffusion(tmp_path / "gemma")
    monkeypatch.setattr("uddm_lightning.interop.block_diffusion.BlockDiffusion.auto_class", "ClassOfTheFuture")
    with pytest.raises(InputError, match=r"needs `ClassOfTheFuture`, which transformers \S+ does not have"):
        opened(tmp_path / "gemma")
