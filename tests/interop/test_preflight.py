"""Needs of a probe of a deployed model, before its weights are read or downloaded."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.interop.conftest import network
from tests.interop.test_gidd import save_gidd
from tests.support.command_line import Outcome
from tests.support.hub import hub_folder, raw_safetensors
from tests.support.pretrained import save_block_diffusion, save_masked_lm
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop import preflight as module
from uddm_lightning.interop.hub_folder import StoredWeights
from uddm_lightning.interop.preflight import plan_probe
from uddm_lightning.interop.pretrained_settings import PretrainedOptions

OPTIONS = PretrainedOptions(device="cpu")


def lines(model: Path | str, **options: Any) -> dict[str, str]:
    return dict(plan_probe(str(model), None, OPTIONS._replace(**options)).lines)


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: {"cpu": 8 * 10**9})
    monkeypatch.setattr(module, "measured_speed", lambda dtype, device: 1e9)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the data of a weight fails."""

    def fail(*arguments: Any, **options: Any) -> None:
        pytest.fail("the weights are read")

    monkeypatch.setattr(StoredWeights, "__getitem__", fail)


@pytest.mark.usefixtures("unread")
def test_a_network_of_transformers(tmp_path: Path) -> None:
    save_block_diffusion(tmp_path / "gemma")
    found = lines(tmp_path / "gemma", steps=10)
    assert found["parameters"].endswith("B for each token")
    assert found["rows"] == "256 own samples of 12 tokens, drawn in at most 10 steps"
    assert found["evaluations"].startswith(f"{256 * 32:,} of a row")
    assert "F32, read as stored" in found["weights"]
    assert found["free here"] == "8.0 GB (cpu)"
    assert found["time"].endswith("measured on cpu")


@pytest.mark.usefixtures("unread")
def test_a_masked_model_draws_in_as_many_steps_as_it_has_masks(tmp_path: Path) -> None:
    save_masked_lm(tmp_path / "bert")
    assert lines(tmp_path / "bert")["rows"] == "256 own samples of 12 tokens, drawn in at most 12 steps"


def test_options_may_stand_before_the_model(tmp_path: Path, uddm: Callable[..., Outcome]) -> None:
    save_gidd(tmp_path / "gidd")
    options = ("--length", "8", "--device", "cpu")
    for arguments in ((tmp_path / "gidd", *options), (*options, tmp_path / "gidd")):
        outcome = uddm("preflight", *arguments)
        assert outcome.status == 0
        assert "256 own samples of 8 tokens" in outcome.out
        assert "device       cpu" in outcome.out


@pytest.mark.usefixtures("unread")
def test_gidd(tmp_path: Path) -> None:
    save_gidd(tmp_path / "gidd")
    found = lines(tmp_path / "gidd", length=8)
    assert found["rows"] == "256 own samples of 8 tokens, drawn in at most 1,000 steps"
    assert found["evaluations"].startswith(f"{256 * 1022:,} of a row")


def test_models_that_are_converted(tmp_path: Path, foreign: Path) -> None:
    given = network(1)
    parameters = sum(parameter.numel() for parameter in given.parameters())
    for model in (hub_folder(tmp_path / "udlm", given), foreign):
        found = lines(model)
        assert "converted to a run in float32" in found["weights"]
        assert (
            found["memory"]
            == f"about {(16 * parameters + 2**31) / 1e9:,.1f} GB, of which 2.1 GB are assumed for a batch"
        )
        assert found["rows"] == "256 own samples of 16 tokens, drawn in at most 1,000 steps"


def test_a_model_that_fits_nowhere_exits_with_2_after_the_table(
    tmp_path: Path, uddm: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_gidd(tmp_path / "gidd")
    monkeypatch.setattr(module, "free_memory", lambda: {"cpu": 10**6})
    outcome = uddm("preflight", tmp_path / "gidd")
    assert outcome.status == 2
    assert "device       none" in outcome.out
    assert "needs about 2.1 GB, and this machine has 0.0 GB of free memory" in outcome.err


def test_a_name_on_the_hub_is_asked_for_its_size_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        def model_info(self, name: str, **options: Any) -> Any:
            if name != "owner/name":
                raise OSError("404: there is no such model")
            sizes = {"config.json": 500, "model.safetensors": 6_000_000_000, "code.py": 9}
            files = [SimpleNamespace(rfilename=file, size=size) for file, size in sizes.items()]
            return SimpleNamespace(
                sha="abc", siblings=files, safetensors=SimpleNamespace(parameters={"BF16": 3 * 10**9})
            )

    monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "HfApi", Hub)
    found = dict(plan_probe("owner/name", "main", OPTIONS._replace(steps=100)).lines)
    assert found["parameters"] == "3 B"
    assert found["download"] == "2 files, 6.00 GB, commit abc"
    assert found["memory"].startswith("about 8.1 GB")
    assert found["evaluations"] == f"{256 * 122:,} of a row, {2 * 3e9 * 128 * 256 * 122:.1e} floating-point operations"
    with pytest.raises(InputError, match="the hub does not give a model of this name"):
        plan_probe("owner/other", None, OPTIONS)
    monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="is neither a path nor in the hub's cache"):
        plan_probe("owner/name", None, OPTIONS)


def test_a_hub_that_states_no_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        def model_info(self, name: str, **options: Any) -> Any:
            files = [SimpleNamespace(rfilename="model.safetensors", size=9)]
            return SimpleNamespace(sha="abc", siblings=files, safetensors=None)

    monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "HfApi", Hub)
    with pytest.raises(InputError, match="does not state its number of parameters"):
        plan_probe("owner/name", None, OPTIONS)


def test_what_is_no_deployed_model(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(InputError, match="there is no such file or folder"):
        plan_probe(str(tmp_path / "a" / "b" / "c"), None, OPTIONS)
    with pytest.raises(InputError, match="is a config or a run of this package; give it as `uddm preflight -c"):
        plan_probe(str(trained / "run"), None, OPTIONS)
    with pytest.raises(InputError, match="`--revision main` is for OWNER/NAME"):
        plan_probe(str(tmp_path), "main", OPTIONS)
    (tmp_path / "llama").mkdir()
    raw_safetensors(tmp_path / "llama/model.safetensors", {})
    (tmp_path / "llama/config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InputError, match="says `model_type` = 'llama'"):
        plan_probe(str(tmp_path / "llama"), None, OPTIONS)
