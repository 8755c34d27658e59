"""The probe of samples on oracles, compared with brute force, for several batch sizes."""

import json
import math

import pytest
import torch
import yaml

from tests.support.command_line import select, table
from uddm_lightning.critics import CriticText, NgramCritic
from uddm_lightning.data.corpus import load_cached_corpus
from uddm_lightning.data.subset import Subset
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.probes import SampleProbe

QUIET = [
    word for kind in ("recovery", "entropy", "nelbo", "basin", "trajectory") for word in (f"--{kind}.enabled", "false")
]
SIZE, LENGTH, DRAWS = 8, 16, 24


@pytest.fixture
def samples_config(markov_config):
    """The Markov config with the sizes of this file."""
    settings = yaml.safe_load(markov_config.read_text(encoding="utf-8"))
    settings["data"] |= {"num_train_rows": 16, "num_sample_rows": DRAWS, "train_size": SIZE}
    settings["model"]["sampler"]["init_args"]["steps"] = 100
    markov_config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return markov_config


@pytest.fixture
def seen(monkeypatch):
    """Return all rows that the probe measured, in order."""
    rows, real = [], SampleNeighbours.update

    def update(self, tokens_BL, *rest):
        rows.extend(tokens_BL.tolist())
        return real(self, tokens_BL, *rest)

    monkeypatch.setattr(SampleNeighbours, "update", update)
    return rows


def measured(uddm, config, out, backbone, *options):
    outcome = uddm("validate", "-c", config, "--model.backbone", backbone, "--out", out, *QUIET, *options)
    assert outcome.status == 0, outcome.err
    rows = table(out)
    return {split: row for split in ("samples", "test") for row in select(rows, "samples", split)}, outcome.out


def distance(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def brute_force(samples, run, n=6):
    """Return the expected columns of the samples, counted on lists."""
    manifest = json.loads((run / "manifest.json").read_text())
    corpus = load_cached_corpus(manifest)
    subset = Subset(len(corpus.train), manifest["train_size"], manifest["seed"], corpus.hash)
    train = corpus.train.tokens(subset.rows(torch.arange(len(subset)))).tolist()
    least = [min(distance(sample, row) for row in train) for sample in samples]
    others = [min(distance(s, o) for j, o in enumerate(samples) if j != i) for i, s in enumerate(samples)]
    critic = NgramCritic()
    critic.fit(CriticText(len(corpus.train), corpus.train.tokens, corpus.tokenizer.vocab_size, str))
    memorized = [value <= 0.1 * LENGTH for value in least]
    grams = [{tuple(row[k : k + n]) for k in range(LENGTH - n + 1)} for row in train]
    anywhere = set().union(*grams)
    shares = [sum(tuple(s[k : k + n]) in anywhere for k in range(LENGTH - n + 1)) / (LENGTH - n + 1) for s in samples]
    return {
        "n_memorized": sum(memorized),
        "n_spurious": sum(not m and o <= 0.1 * LENGTH for m, o in zip(memorized, others, strict=True)),
        "nearest_distance": sum(least) / len(samples) / LENGTH,
        "train_overlap": sum(shares) / len(samples),
        "generative_perplexity": math.exp(critic.nll(torch.tensor(samples)).mean()),
    }


def test_samples_of_a_perfect_memorizer_are_memorized(uddm, samples_config, tmp_path, seen):
    found, out = measured(uddm, samples_config, tmp_path / "run", "EmpiricalBayesBackbone")
    samples, row = seen[DRAWS:], found["samples"]
    assert (row["n_draws"], row["n_memorized"], row["n_spurious"], row["n_novel"]) == (
        f"{DRAWS}",
        f"{DRAWS}",
        "0",
        "0",
    )
    assert float(row["nearest_overlap"]) > 0.95
    for name, value in brute_force(samples, tmp_path / "run").items():
        assert float(row[name]) == pytest.approx(value, abs=1e-12), name
    assert (row["sampler"], row["sampler_steps"], row["critic"], row["t"]) == ("ancestral", "100", "5-gram", "")
    assert f"{DRAWS} samples: {DRAWS} memorized, 0 spurious, 0 novel; perplexity under the 5-gram critic" in out


def test_samples_of_the_exact_posterior_are_novel_and_as_likely_as_test_rows(uddm, samples_config, tmp_path, seen):
    found, _ = measured(uddm, samples_config, tmp_path / "run", "MarkovBackbone")
    for split, rows in (("test", seen[:DRAWS]), ("samples", seen[DRAWS:])):
        for name, value in brute_force(rows, tmp_path / "run").items():
            assert float(found[split][name]) == pytest.approx(value, abs=1e-12), (split, name)
    assert int(found["samples"]["n_novel"]) > 0.8 * DRAWS
    # both are text of the same Markov chain
    low, high = (float(found["samples"][f"generative_perplexity_{end}"]) for end in ("low", "high"))
    assert low < float(found["test"]["generative_perplexity"]) < high


def test_a_held_out_critic_has_seen_neither_training_rows_nor_measured_ones(uddm, samples_config, tmp_path, seen):
    critic = ("--samples.critic", "HeldOutNgramCritic")
    found, _ = measured(uddm, samples_config, tmp_path / "run", "MarkovBackbone", *critic)
    corpus = load_cached_corpus(json.loads((tmp_path / "run" / "manifest.json").read_text()))
    left = corpus.test.tokens(torch.arange(len(corpus.test))).tolist()
    for row in seen[:DRAWS]:
        left.remove(row)
    judge = NgramCritic()
    judge.fit(CriticText(len(left), lambda ids: torch.tensor(left)[ids], corpus.tokenizer.vocab_size, str))
    for split, rows in (("test", seen[:DRAWS]), ("samples", seen[DRAWS:])):
        expected = math.exp(judge.nll(torch.tensor(rows)).mean())
        assert float(found[split]["generative_perplexity"]) == pytest.approx(expected, abs=1e-12)
        assert found[split]["critic"] == "held-out 5-gram"


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_batch_size(uddm, samples_config, tmp_path):
    tables = [
        measured(uddm, samples_config, tmp_path / f"{size}" / "run", "MarkovBackbone", "--data.eval_batch_size", size)[
            0
        ]
        for size in (3, 24)
    ]
    assert tables[0] == tables[1]


def test_without_samples_or_critic_there_are_no_values(uddm, samples_config, tmp_path):
    found, _ = measured(
        uddm,
        samples_config,
        tmp_path / "none",
        "MarkovBackbone",
        "--data.num_sample_rows",
        0,
        "--nelbo.enabled",
        "true",
    )
    assert found == {}
    found, out = measured(uddm, samples_config, tmp_path / "run", "MarkovBackbone", "--samples.critic", "null")
    assert (found["samples"]["critic"], found["samples"]["generative_perplexity"]) == ("", "")
    assert "perplexity" not in out


def test_fewer_draws_are_the_first_ones_and_special_positions_are_left_out(uddm, config, corpus, tmp_path, seen):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"]["tokenizer"] = {"class_path": "WordPieceTokenizer", "init_args": {"vocab_size": 60}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *QUIET, "--samples.num_rows", 5)
    assert outcome.status == 0, outcome.err
    rows = [row for row in table(tmp_path / "run") if row["metric"] == "samples"]
    assert [(row["split"], row["step"], row["n_draws"]) for row in rows] == [("samples", "6", "5"), ("test", "6", "5")]
    assert len(seen) == 10  # at the end only
    assert {len(row) for row in seen} == {LENGTH - 2}  # begin and end of a row are special tokens


@pytest.mark.parametrize("name", ["memorized_within", "spurious_within"])
def test_thresholds_are_checked(name):
    with pytest.raises(ValueError, match=rf"`samples.{name}` must be in \[0, 1\), got 1.0"):
        SampleProbe(**{name: 1.0})


def test_the_length_of_n_grams_is_checked():
    with pytest.raises(ValueError, match=r"`samples\.ngram` must be at least 1, got 0"):
        SampleProbe(ngram=0)
