"""Configs that `uddm sweep --text` writes."""

import pytest
import yaml

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.options import expand_files
from uddm_lightning.sweeps.text_config import expand_text

TEXT = "It was the best of times, it was the worst of times.\n" * 60


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text(TEXT, encoding="utf-8")


def test_arguments_without_text_stay(tmp_path):
    assert expand_text(["-c", "quickstart", "--out", "x"]) == (["-c", "quickstart", "--out", "x"], "")


def test_the_settings_are_printed_written_and_valid(tmp_path):
    arguments, printed = expand_text(["--text", "my.txt", "--seeds", "1"])
    settings = tmp_path / "my-sweep" / "text.yaml"
    assert arguments[arguments.index("--out") + 1] == "my-sweep"
    assert [line.split()[0] for line in printed.splitlines()] == [
        *("text", "documents", "tokens", "rows", "sizes", "steps", "settings"),
    ]
    assert "my.txt: 1 file(s), 60 lines, 3,120 characters" in printed
    config = yaml.safe_load(settings.read_text(encoding="utf-8"))
    assert config["data"]["source"]["init_args"]["paths"] == [str(tmp_path / "my.txt")]
    options = expand_files(arguments)
    assert options[:2] == ["--sizes", "2:128:x4,128"]
    assert options[-4:] == ["--out", "my-sweep", "--seeds", "1"]
    resolved = resolve(options[2:-4]).values  # the configs, as `uddm fit` reads them
    assert resolved["data"]["tokenizer"]["init_args"]["alphabet"] == "abefhimorstw "
    assert resolved["model"]["backbone"]["init_args"]["hidden_size"] == 64


def test_the_same_call_continues_with_the_same_settings(tmp_path):
    first, _ = expand_text(["--text", "my.txt"])
    settings = tmp_path / "my-sweep" / "text.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("max_steps: 3000", "max_steps: 900"))
    again, printed = expand_text(["--text", "my.txt"])
    assert again == first
    assert "those of an earlier call" in printed
    assert "max_steps: 900" in settings.read_text(encoding="utf-8")


def test_a_folder_with_another_sweep_is_refused(tmp_path):
    expand_text(["--text", "my.txt", "--out", "one"])
    (tmp_path / "other.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(InputError, match=r"`one` holds a sweep over other text, .*my\.txt.*`--out`"):
        expand_text(["--text", "other.txt", "--out", "one"])


def test_a_folder_stands_for_the_suffix_that_most_of_its_text_has(tmp_path):
    code = tmp_path / "code"
    for name, content in {
        "a.py": TEXT,
        "deep/b.py": TEXT,
        "deep/empty.py": "",
        "notes.md": "short",
        ".git/objects.md": TEXT * 9,
        "image.png": "\0" * 99_999,
    }.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(content, encoding="utf-8")
    (code / "latin.csv").write_bytes(b"\xff\xfe" * 9999)
    _, printed = expand_text(["--text", "code", "--text", "my.txt"])
    config = yaml.safe_load((tmp_path / "code-sweep" / "text.yaml").read_text(encoding="utf-8"))
    paths = [str(code / "**" / "*.py"), str(tmp_path / "my.txt")]
    assert config["data"]["source"]["init_args"]["paths"] == paths
    assert "code my.txt: 4 file(s), 180 lines" in printed


def test_a_folder_without_text_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"`--text none`: the folder holds no text file"):
        expand_text(["--text", "none"])
