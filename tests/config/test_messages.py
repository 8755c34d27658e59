"""Messages of the parser: one line with the key, the nearest name and the way out."""

from pathlib import Path

import pytest
import yaml

from uddm_lightning.callbacks import StopBeforeMemorizing
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config.messages import constructor_error
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.core.errors import InputError, suggest


def refusal(*arguments: object) -> str:
    with pytest.raises(InputError) as refused:
        resolve([str(word) for word in arguments])
    return str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data.size", 8), "`--data.size` is not an option; did you mean `data.train_size`?"),
        (("--data.train_sise", 8), "`--data.train_sise` is not an option; did you mean `data.train_size`?"),
        (("--recovery.tims=[0.1]",), "`--recovery.tims` is not an option; did you mean `recovery.times`?"),
        (("--outt", "x"), "`--outt` is not an option; did you mean `out`?"),
        (("--nothing.like.it", 1), "`--nothing.like.it` is not an option."),
        (("x.yaml",), "`x.yaml` stands alone in the command. A config is given by `-c x.yaml`."),
        (
            ("--model.backbone.init_args.hiden_size", 8),
            "`model.backbone` has no argument `hiden_size`; did you mean `hidden_size`?",
        ),
        (
            ("--model.backbone.heads", 8),
            "`model.backbone` has no argument `heads`; did you mean `n_heads`?",
        ),
        (("--data.train_size", "many"), "`data.train_size` is many; expected int or float."),
        (("--trainer.max_steps", "many"), "`trainer.max_steps` is many; expected int."),
        (("--seed_everything", -3), "`seed_everything` must be an integer from 0 to 4294967295, got -3."),
    ],
)
def test_a_wrong_option_is_explained(config: Path, words: tuple[object, ...], message: str) -> None:
    assert refusal("-c", config, *words) == message


def test_an_unknown_class_is_explained(config: Path) -> None:
    message = refusal("-c", config, "--model.objective", "NELBOs")
    assert message.startswith(
        "`model.objective` is NELBOs, which is not a known class; did you mean `NELBO`? There are "
    )
    assert "DuoCurriculum" in message
    assert message.endswith("give your own by its import path, such as my_module.MyClass.")
    message = refusal("-c", config, "--model.backbone", "uddm_lightning.models.DiT")
    assert "(module 'uddm_lightning' has no attribute 'models'); did you mean `DiT`?" in message
    assert "(No module named 'my_plugin')" in refusal("-c", config, "--model.backbone", "my_plugin.Network")


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("data", {"size": 8}, "`data.size` is not a key of a config; did you mean `data.train_size`?"),
        ("recovery", {"tims": [0.1]}, "`recovery.tims` is not a key of a config; did you mean `recovery.times`?"),
    ],
)
def test_a_wrong_key_of_a_file_is_explained(config: Path, section: str, content: dict, message: str) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings[section] = {**settings.get(section, {}), **content}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert refusal("-c", config) == message


def test_a_missing_section_is_explained(config: Path) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    del settings["data"]["packing"]
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    message = refusal("-c", config)
    assert message.startswith("`data.packing` is missing; give one of the classes ")
    assert "WrappedPacking" in message


def test_an_unknown_config_is_explained() -> None:
    message = (
        "`-c quikstart`: no such file, and no shipped config; did you mean `quickstart`? `uddm configs` lists them."
    )
    assert refusal("-c", "quikstart") == message


def test_a_suggestion_is_near() -> None:
    assert suggest("fot", ["fit", "test"]) == "; did you mean `fit`?"
    assert suggest("xyz", ["fit", "test"]) == "."


@pytest.mark.parametrize(("argument", "value"), [("num_rows", "nan"), ("growth", "fast")])
def test_a_wrong_argument_of_one_of_several_classes_is_explained(config: Path, argument: str, value: str) -> None:
    words = ("--trainer.callbacks+", "StopBeforeMemorizing", f"--trainer.callbacks.{argument}", value)
    expected = {"num_rows": "int", "growth": "float"}[argument]
    assert refusal("-c", config, *words) == f"`trainer.callbacks`: `{argument}` is {value}; expected {expected}."


def test_the_error_of_a_constructor_is_found_behind_the_types_that_were_tried() -> None:
    parser = UddmParser()
    parser.add_argument("--kind", type=StopBeforeMemorizing | None)
    made = parser.parse_object({"kind": {"class_path": "StopBeforeMemorizing", "init_args": {"growth": 5.0}}})
    with pytest.raises(ValueError, match="Union subtypes") as refused:
        parser.instantiate(made)
    assert str(constructor_error(refused.value)) == "`growth` must be in (1, 2], got 5.0."
    assert str(constructor_error(TypeError("two\nlines"))) == "two lines"
