"""A written config.yaml is read as the same values by the parser and by PyYAML."""

import copy
from typing import Any

import pytest

from tests.config.test_yaml_text import ODD
from tests.support.command_line import tiny_config
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.yaml_text import to_yaml


@pytest.fixture
def parsed(tmp_path, corpus):
    """Return the parsed config with `text` under its string keys, and the parsed config.yaml that is written from
    it."""

    def both(text: str, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
        content = copy.deepcopy(tiny_config(corpus))
        content["model"]["backbone_name"] = text
        content["data"]["cache_dir"] = text
        content["data"]["source"] = {
            "class_path": "HubDataset",
            "init_args": {"path": text, "revision": text, "name": text, "field": text, "data_files": {"train": text}},
        }
        (tmp_path / "given.yaml").write_text(to_yaml(content), encoding="utf-8")
        first = resolve(["-c", str(tmp_path / "given.yaml"), *options])
        (tmp_path / "again.yaml").write_text(first.text, encoding="utf-8")
        return first.values, resolve(["-c", str(tmp_path / "again.yaml")]).values

    return both


@pytest.mark.parametrize("text", ["1e3", "7435e12", "null", "yes", "012", "1_000", "nan", *ODD[8:20:4]])
def test_resolving_a_resolved_config_changes_nothing(parsed, text) -> None:
    first, again = parsed(text)
    assert first == again
    read = None if text == "null" else text  # the parser reads it as null, even quoted, for keys that may be null
    assert first["model"]["backbone_name"] == first["data"]["source"]["init_args"]["revision"] == read
    assert first["data"]["source"]["init_args"]["data_files"] == {"train": text}


@pytest.mark.parametrize("text", ["1e3", "7435e12", "#1", "?", "012", "nan"])
def test_a_string_of_the_command_line_is_kept(parsed, text) -> None:
    first, again = parsed("x", "--model.backbone_name", text, "--data.source.init_args.revision", text)
    assert first == again
    assert first["model"]["backbone_name"] == first["data"]["source"]["init_args"]["revision"] == text


@pytest.mark.slow
def test_a_run_with_a_name_like_a_number_resumes(uddm, config, tmp_path) -> None:
    out = tmp_path / "run"
    options = ("--model.backbone_name", "1e3", "--trainer.max_steps", 3)
    assert uddm("fit", "-c", config, "--out", out, *options).status == 0
    for command, more in (("fit", ("--trainer.max_steps", 6)), ("validate", ())):
        outcome = uddm(command, "-c", out / "config.yaml", "--ckpt_path", "last", *more)
        assert outcome.status == 0, outcome.err
    assert "\n1e3-n8-s0-" in (out / "measurements.csv").read_text(encoding="utf-8")
