"""`uddm probe` returns the entropies that the run has measured, from its checkpoint and config alone."""

import csv
import shutil

import pytest
import yaml

from tests.support.command_line import tiny_config, write_corpus
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs import load as loading


@pytest.fixture
def run(textless, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(textless / "cache"))
    return textless / "run"


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_entropy_of_own_samples_equals_that_of_the_run(uddm, run, tmp_path):
    outcome = uddm("probe", run, "-n", 16, "--times", "0.1,0.5", "--out", tmp_path / "probe.csv")
    assert outcome.status == 0, outcome.err
    found = table(tmp_path / "probe.csv")
    rows = table(run / "measurements.csv")
    theirs = {
        row["t"]: row for row in rows if (row["metric"], row["split"], row["step"]) == ("entropy", "samples", "6")
    }
    assert [row["t"] for row in found] == ["0.1", "0.5"]
    for row in found:
        assert all(row[name] == theirs[row["t"]][name] for name in row), row["t"]
        assert f"{float(row['entropy']):.3f}" in outcome.out
    assert "16 own samples; ema weights of step 6" in outcome.out


def test_text_and_cache_are_not_needed(uddm, run, tmp_path, monkeypatch):
    with_text = uddm("probe", run / "config.yaml", "-n", 16, "--times", "1e-5,0.1")
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    shutil.copytree(run, tmp_path / "alone")
    alone = uddm("probe", tmp_path / "alone", "-n", 16, "--times", "1e-5,0.1")
    assert alone.status == 0, alone.err
    assert alone.out.splitlines()[1:] == with_text.out.splitlines()[1:]
    assert "extrapolated" in alone.out
    assert "special positions included" in alone.out
    assert not (tmp_path / "empty").exists()


def test_lines_of_a_text_are_measured_with_a_known_tokenizer(uddm, run, tmp_path, monkeypatch):
    text = tmp_path / "lines.txt"
    text.write_text("the people\nof peace and war\n", encoding="utf-8")
    outcome = uddm("probe", run, "--text", text, "--times", "0.5", "--out", tmp_path / "probe.csv")
    assert outcome.status == 0, outcome.err
    [row] = table(tmp_path / "probe.csv")
    assert (row["split"], row["n_rows"], row["sampler"]) == ("text", "2", "")
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    refused = uddm("probe", run, "--text", text)
    assert refused.status == 2
    assert "was learned from its text, which is not in the cache" in refused.err


def test_an_alphabet_in_the_config_is_sufficient(uddm, tmp_path):
    config = tiny_config(write_corpus(tmp_path / "corpus.txt"))
    config["data"]["tokenizer"]["init_args"] = {"alphabet": "abcdefghijklmnopqrstuvwxyz "}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert uddm("fit", "-c", tmp_path / "tiny.yaml", "--out", tmp_path / "run").status == 0
    shutil.rmtree(tmp_path / "cache")
    outcome = uddm("probe", tmp_path / "run", "--text", tmp_path / "corpus.txt", "-n", 3, "--times", "0.5")
    assert outcome.status == 0, outcome.err
    assert "3 rows of text" in outcome.out


def test_the_hub_is_asked_for_a_tokenizer_only_with_a_text(run, tmp_path, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "empty"))
    asked = []
    monkeypatch.setattr("uddm_lightning.data.tokenizers.pretrained._load", asked.append)
    kind = "uddm_lightning.data.tokenizers.pretrained.PretrainedTokenizer"
    model = loading.load(run, "last")
    model.config["data"]["tokenizer"] = {"class_path": kind, "init_args": {"path": "somebody/words"}}
    assert model.tokenizer(fetch=False) is None
    assert asked == []
    monkeypatch.setattr("uddm_lightning.data.tokenizers.pretrained._load", _no_network)
    assert model.tokenizer(fetch=True) is None
    model.config["data"]["tokenizer"] = None
    assert model.tokenizer(fetch=True) is None


def test_a_sweep_is_refused_with_the_names_of_its_runs(uddm, run, tmp_path):
    for size in (2, 8):
        shutil.copytree(run, tmp_path / "sweep" / "runs" / f"DiT-n{size}-s0")
    outcome = uddm("probe", tmp_path / "sweep")
    assert outcome.status == 2
    expected = f"`{tmp_path}/sweep` is a sweep. Give one of its runs in `{tmp_path}/sweep/runs`: DiT-n2-s0, DiT-n8-s0."
    assert expected in outcome.err


def _no_network(path):
    raise InputError(f"no {path}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", 0], "`-n` must be from 1 to"),
        (["--steps", 0], "`--steps` must be from 1 to"),
        (["--seed", -1], "`--seed` must be from 0 to"),
        (["--times", "0.5,2"], "`--times 0.5,2`: give times in (0, 1]"),
        (["--times", "soon"], "`--times soon`: give times in (0, 1]"),
        (["--text", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_invalid_arguments_give_one_message(uddm, run, words, message):
    outcome = uddm("probe", run, *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
