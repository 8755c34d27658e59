from pathlib import Path

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.options import expand_files


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_gives_options(tmp_path: Path) -> None:
    text = "sweep:\n  sizes: [0.1, 8, 1.0]\n  seeds: [0, 1]\n  jobs: 2\n  backbone: [a.yaml, b.yaml]\n"
    study, model = written(tmp_path / "study.yaml", text), written(tmp_path / "model.yaml", "data: {}\n")
    given = ["--sizes", "0.1,8,1.0", "--seeds", "0,1", "--jobs", "2", "--backbone", "a.yaml", "--backbone", "b.yaml"]
    assert expand_files(["-c", model, "-c", study, "--out", "x"]) == [*given, "-c", model, "--out", "x"]
    assert expand_files([f"--config={study}", "-c", model, "--sizes", "4"]) == [*given, "-c", model, "--sizes", "4"]


def test_variants_are_given_by_name(tmp_path: Path) -> None:
    text = "sweep:\n  variant:\n    control: {}\n    small: {data.batch_size: 8}\n"
    found = expand_files(["-c", written(tmp_path / "study.yaml", text)])
    assert found == ["--variant", "control={}", "--variant", 'small={"data.batch_size": 8}']


def test_other_files_are_unchanged(tmp_path: Path) -> None:
    model, empty = written(tmp_path / "model.yaml", "data: {}\n"), written(tmp_path / "empty.yaml", "")
    for words in (["-c", model], ["-c", empty], ["--sizes", "4"], []):
        assert expand_files(words) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: {sizes: [1]}\ndata: {}\n", r"`-c .*study\.yaml`: .* the section `sweep` and nothing else; .*'data'"),
        ("sweep: 3\n", "this one has 3"),
        ("sweep: {size: 3}\n", r"`-c .*study\.yaml`: `sweep.size` is not an option of a sweep; use sizes"),
        ("sweep: {sizes: [1\n", r"study\.yaml` is not valid YAML"),
    ],
)
def test_invalid_options_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expand_files(["-c", written(tmp_path / "study.yaml", text)])
