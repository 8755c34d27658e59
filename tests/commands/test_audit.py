"""`uddm audit` on a run, its manifest and files of text."""

import json
import re

import pytest
import yaml

from tests.support.command_line import OFF, tiny_config, write_corpus

FEW = ("--rows", 24, "--draws", 2, "--attempts", 2, "--extraction_rows", 4, "--alternatives", 15, "--device", "cpu")


@pytest.fixture
def run(trained, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    return trained / "run"


def test_a_run_is_audited_from_its_manifest(uddm, run, tmp_path):
    outcome = uddm("audit", run, *FEW, "--json", tmp_path / "audit.json", "--html", tmp_path / "audit.html")
    assert outcome.status == 0, outcome.err
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    first, second, *_ = outcome.out.splitlines()
    blind = found["membership"]["blind_baseline"]["auc"]
    assert first.startswith(
        "THE SPLIT IS CONFOUNDED" if blind["low"] > 0.5 else "No evidence that the split is confounded"
    )
    assert f"AUC {blind['value']:.3f}" in first
    assert f"corrected for {len(found['membership']['scores'])} scores" in second
    assert (found["members"]["sequences"], found["members"]["name"]) == (8, "train")
    assert found["nonmembers"]["sequences"] + found["duplicates_left_out"] == 24
    assert len(found["sequences"]) == 8 + found["nonmembers"]["sequences"]
    assert set(found["sequences"][0]) == {"group", "row", "loss", "entropy", "entropy_leave_one_out", "recovery"}
    assert set(found["extraction"]) == {"prefix", "suffix", "span", "scattered"}
    assert found["extraction"]["span"]["nonmembers"]["sequences"] == 4
    assert found["canaries"] is None
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert first[:40] in re.sub(r"<[^>]+>", "", page)
    assert page.index(first[:40]) < page.index("The model")
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    again = uddm("audit", run / "checkpoints" / "last.ckpt", *FEW)
    assert again.out.splitlines()[:3] == outcome.out.splitlines()[:3]


def test_files_are_audited_with_a_reference(uddm, run, trained, tmp_path):
    lines = (trained / "corpus.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "in.txt").write_text("\n".join(lines[:20]) + "\n", encoding="utf-8")
    other = [f"law law war {word}" for word in ("the", "of", "and", "to", "we", "our", "law", "war", "year", "great")]
    (tmp_path / "out.txt").write_text("\n".join(other) + "\n", encoding="utf-8")
    words = ("--members", tmp_path / "in.txt", "--nonmembers", tmp_path / "out.txt", "--scores", "loss,critical_t")
    small = (*FEW, "--extraction_rows", 0, "--reference", run, "--json", tmp_path / "audit.json")
    outcome = uddm("audit", run, *words, *small)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("THE SPLIT IS CONFOUNDED")
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert found["membership"]["scores"]["loss minus reference"]["auc"]["value"] == 0.5
    assert found["extraction"] is None
    assert found["membership"]["confounded"] is True


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A config with canaries, in a folder with its text."""
    folder = tmp_path_factory.mktemp("planted")
    config = tiny_config(write_corpus(folder / "corpus.txt"))
    config["data"]["canaries"] = [0, 1, 1]
    (folder / "canaries.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "canaries.yaml"


def test_planted_canaries_are_compared_with_their_alternatives(uddm, planted, tmp_path):
    assert uddm("fit", "-c", planted, "--out", tmp_path / "run", *OFF).status == 0
    found = tmp_path / "audit.json"
    outcome = uddm("audit", tmp_path / "run", *FEW, "--json", found, "--html", tmp_path / "audit.html")
    assert outcome.status == 0, outcome.err
    canaries = json.loads(found.read_text(encoding="utf-8"))["canaries"]
    assert [(one["repetitions"], one["canaries"]) for one in canaries["by_repetitions"]] == [(0, 1), (1, 2)]
    assert canaries["highest_exposure"] == 4.0
    assert all(0.0 <= one["exposure"] <= 4.0 for one in canaries["canaries"])
    assert "Mean exposure of canaries, by repetitions: " in outcome.out
    assert (tmp_path / "audit.html").read_text(encoding="utf-8").count("<svg") == 2 * 2, "in two widths"
    refused = uddm("validate", "-c", tmp_path / "run" / "config.yaml", "--ckpt_path", "last", "--data.canaries", "[2]")
    assert refused.status == 2
    assert "`data.canaries`" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", 1], "`--rows` must be from 2 to"),
        (["--draws", 0], "`--draws` must be from 1 to"),
        (["--t", 0], "`--t` must be in (0, 1], got 0.0"),
        (["--hidden_share", 1.5], "`--hidden_share` must be in (0, 1], got 1.5"),
        (["--scores", "loss,entropi"], "there is no score 'entropi'; did you mean `entropy`? Scores: loss, entropy,"),
        (["--members", "nowhere.txt"], "nowhere.txt"),
        (["--reference", "nowhere"], "nowhere"),
    ],
)
def test_invalid_arguments_give_one_message(uddm, run, words, message):
    outcome = uddm("audit", run, *FEW, *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_reference_with_another_vocabulary_is_refused(uddm, run, tmp_path):
    config = tiny_config(write_corpus(tmp_path / "corpus.txt"))
    config["data"]["tokenizer"]["init_args"] = {"alphabet": "abcdefghijklmnopqrstuvwxyz ."}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert uddm("fit", "-c", tmp_path / "tiny.yaml", "--out", tmp_path / "other", *OFF).status == 0
    outcome = uddm("audit", run, *FEW, "--reference", tmp_path / "other")
    assert outcome.status == 2
    assert "has another tokenizer or row length than the model: 28 ids and 16 positions" in outcome.err
