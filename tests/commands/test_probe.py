"""`uddm probe` returns the entropies that the run has measured, from its checkpoint and config alone."""

import csv
import json
import shutil

import pytest
import yaml

from tests.audit.known import separable
from tests.support.command_line import tiny_config, write_corpus
from uddm_lightning.audit.calibration import REGIMES, fit_calibration
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


def test_the_verdict_comes_with_its_evidence(uddm, run, tmp_path):
    words = ("-n", 64, "--times", "0.1", "--json", tmp_path / "v.json", "--html", tmp_path / "v.html")
    outcome = uddm("probe", run, *words)
    assert outcome.status == 0, outcome.err
    found = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    verdict = found["verdict"]
    assert f"verdict: {verdict['name']}" in outcome.out
    assert verdict["probability"] == max(verdict["probabilities"].values())
    assert sum(verdict["probabilities"].values()) == pytest.approx(1.0)
    assert verdict["outside"], "the calibration holds for rows of another length"
    assert f"outside of the calibration: {verdict['outside'][0]}" in outcome.out
    assert f"entropy on 64 own samples: {found['evidence']['entropy']:.3f}" in outcome.out
    page = (tmp_path / "v.html").read_text(encoding="utf-8")
    assert page.count('class="tokens"') == 12
    assert "Entropy against t among known regimes" in page
    assert str(tmp_path / "v.html") in outcome.out


def test_a_text_does_not_change_the_verdict(uddm, run, tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("the people of peace and war\n" * 2, encoding="utf-8")
    alone = uddm("probe", run, "-n", 256, "--times", "0.1", "--json", tmp_path / "a.json")
    with_text = uddm("probe", run, "--text", text, "--times", "0.1", "--json", tmp_path / "b.json")
    assert (alone.status, with_text.status) == (0, 0), with_text.err
    one, other = (json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in "ab")
    assert (one["verdict"], one["evidence"]) == (other["verdict"], other["evidence"])
    assert one["text"] is None
    assert other["text"]["ratio"] == pytest.approx(other["text"]["entropy"] / other["evidence"]["entropy"])
    assert "the text: entropy" in with_text.out


def test_another_calibration_is_used(uddm, run, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(fit_calibration(separable()).to_json()), encoding="utf-8")
    words = ("-n", 64, "--times", "0.1", "--calibration", tmp_path / "c.json", "--json", tmp_path / "v.json")
    assert uddm("probe", run, *words).status == 0
    found = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert found["calibration"]["models"] == dict.fromkeys(REGIMES, 6)


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
        (["--calibration", "nowhere.json"], "`nowhere.json` is not a calibration of this version"),
    ],
)
def test_invalid_arguments_give_one_message(uddm, run, words, message):
    outcome = uddm("probe", run, *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


@pytest.mark.parametrize(
    "words",
    [("--ckpt_path", "previous"), ("--revision", "main"), ("--length", 8), ("--prompt", "a"), ("--trust-remote-code",)],
)
def test_options_that_a_folder_of_checkpoints_does_not_use_are_refused(uddm, tmp_path, words):
    for step in (1, 2):
        (tmp_path / f"step{step}.ckpt").touch()
    outcome = uddm("probe", tmp_path, *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"`{' '.join(map(str, words))}` is for one model, and `{tmp_path}` is a folder of several" in outcome.err


def test_a_file_that_cannot_be_written_is_refused_before_the_work(uddm, run, tmp_path):
    outcome = uddm("probe", run, "--html", tmp_path)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"`--html {tmp_path}` is a folder; give the path of a file" in outcome.err
