"""Oracles as ordinary plugins: measured by `uddm validate`, without a checkpoint."""

import csv
from pathlib import Path

import pytest
import yaml

from tests.cli.test_errors import check

MARKOV = {
    "source": {"class_path": "MarkovSource", "init_args": {"alphabet": "abcdef", "num_documents": 400, "length": 16}},
    "tokenizer": {"class_path": "CharacterTokenizer", "init_args": {"alphabet": "fedcba"}},
}


def table(run: Path) -> list[dict[str, str]]:
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def select(rows: list[dict[str, str]], kind: str, split: str) -> list[dict[str, str]]:
    return [row for row in rows if row["metric"] == kind and row["split"] == split]


@pytest.fixture
def markov(config):
    """The small config, on text of a Markov chain."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"] |= {**MARKOV, "num_train_rows": 128, "num_test_rows": 32, "train_size": 8}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return config


def measured(uddm, config, out, backbone, *options) -> list[dict[str, str]]:
    outcome = uddm("validate", "-c", config, "--model.backbone", backbone, "--out", out, *options)
    assert outcome.status == 0, outcome.err
    rows = table(out)
    assert {(row["backbone"], row["parameters"], row["step"]) for row in rows} == {(backbone, "0", "0")}
    return rows


def test_the_perfect_memorizer_restores_every_training_row(uddm, markov, tmp_path):
    rows = measured(
        *(uddm, markov, tmp_path / "run", "EmpiricalBayesBackbone"),
        *("--recovery.times", "[0.1, 0.25]", "--entropy.times", "[0.1]", "--nelbo.t_min", 1e-8),
    )
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery"]) == 1.0
        assert row["n_clean_changed"] == "0"
        assert int(row["n_corrupted"]) > 100
    assert all(float(row["recovery"]) < 0.6 for row in select(rows, "recovery", "test"))
    [entropy] = select(rows, "entropy", "train")
    assert float(entropy["entropy"]) < 1e-3
    [bound] = select(rows, "nelbo", "train")
    # ln 8 nats tell 8 rows of 16 tokens apart; what of them is beyond t = 1 is little
    assert float(bound["nelbo_low"]) - 0.03 < 2.0794 / 16 < float(bound["nelbo_high"]) + 0.03


@pytest.mark.slow
def test_the_unigram_model_restores_at_the_chance_level(uddm, config, tmp_path):
    options = ("--data.num_train_rows", 2000, "--data.train_size", 64, "--recovery.times", "[0.1, 0.5]")
    rows = measured(uddm, config, tmp_path / "run", "UnigramBackbone", *options)
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery_low"]) <= float(row["chance"]) <= float(row["recovery_high"])
        assert float(row["recovery_high"]) - float(row["recovery_low"]) < 0.05
    for row in [*select(rows, "entropy", "train"), *select(rows, "entropy", "samples")]:
        assert float(row["self_token_influence"]) == 0.0
        assert float(row["entropy"]) == pytest.approx(float(row["entropy_leave_one_out"]))


@pytest.mark.slow
def test_the_perfect_generalizer_is_the_same_on_seen_and_unseen_text(uddm, markov, tmp_path):
    rows = measured(
        uddm, markov, tmp_path / "run", "MarkovBackbone", "--data.train_size", 128, "--data.num_test_rows", 40
    )
    for train, test in zip(select(rows, "entropy", "train"), select(rows, "entropy", "test"), strict=True):
        assert float(train["entropy_low"]) < float(test["entropy_high"])
        assert float(test["entropy_low"]) < float(train["entropy_high"])
        assert float(train["self_token_influence"]) < 1e-12
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery_low"]) > float(row["chance"])
    # another objective says nothing about what an oracle means
    others = measured(
        *(uddm, markov, tmp_path / "other", "MarkovBackbone", "--data.train_size", 128, "--data.num_test_rows", 40),
        *("--model.objective", "DenoisingCrossEntropy", "--model.objective.init_args.t_min", 0.02),
    )
    assert [{**row, "run": ""} for row in rows] == [{**row, "run": ""} for row in others]


def test_an_oracle_sees_all_draws_at_once(uddm, markov, tmp_path):
    """Nothing is on the way to anywhere, so that no measurement is cut short."""
    rows = measured(uddm, markov, tmp_path / "run", "UnigramBackbone", "--recovery.num_rows_during_training", 3)
    assert {row["n_draws"] for row in select(rows, "recovery", "train")} == {"128"}


@pytest.mark.slow
def test_measuring_again_gives_the_same_and_another_config_is_refused(uddm, markov, tmp_path):
    run = tmp_path / "run"
    measured(uddm, markov, run, "MarkovBackbone")
    assert {"config.yaml", "manifest.json"} <= {path.name for path in run.iterdir()}
    text = (run / "measurements.csv").read_bytes()
    measured(uddm, markov, run, "MarkovBackbone")
    assert (run / "measurements.csv").read_bytes() == text
    outcome = uddm("validate", "-c", run / "config.yaml")
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == text
    options = ("--model.backbone", "MarkovBackbone", "--out", run, "--data.train_size", 9)
    check(uddm("validate", "-c", markov, *options), str(run), "another config", "--out")


@pytest.mark.slow
def test_an_oracle_does_not_write_into_a_trained_run(uddm, markov, tmp_path):
    run = tmp_path / "run"
    assert uddm("fit", "-c", markov, "--out", run, "--trainer.max_steps", 3).status == 0
    before = (run / "measurements.csv").read_bytes()
    options = ("--model.backbone", "MarkovBackbone")
    check(uddm("validate", "-c", run / "config.yaml", *options), str(run), "already holds a run", "--out")
    assert (run / "measurements.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("command", "backbone"), [("validate", "MarkovBackbone"), ("fit", "DiT")])
def test_a_dry_run_leaves_no_traces_in_an_earlier_run(uddm, markov, tmp_path, command, backbone):
    common = (command, "-c", markov, "--model.backbone", backbone, "--out", tmp_path / "run")
    assert uddm(*common).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("run/**/*") if path.is_file()}
    outcome = uddm(*common, "--trainer.fast_dev_run", "true", "--data.train_size", 9)
    assert outcome.status == 0, outcome.err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("run/**/*") if path.is_file()}


def test_an_oracle_restores_text(uddm, markov, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("abcabc\nffedcb\n", encoding="utf-8")
    options = ("--model.backbone", "MarkovBackbone", "--text", given, "--out", tmp_path / "restored")
    outcome = uddm("predict", "-c", markov, *options)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "restored" / "restored.jsonl").read_text(encoding="utf-8").count("\n") == 2
    assert not (tmp_path / "restored" / "measurements.csv").exists()


def test_an_oracle_cannot_be_trained(uddm, markov):
    check(uddm("fit", "-c", markov, "--model.backbone", "MarkovBackbone"), "MarkovBackbone", "uddm validate")


def test_a_text_without_a_law_has_no_generalizer(uddm, config):
    outcome = uddm("validate", "-c", config, "--model.backbone", "MarkovBackbone")
    check(outcome, "MarkovBackbone", "MarkovSource", "CharacterTokenizer")


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (("alphabet", "a"), ("alphabet", "'a'")),
        (("alphabet", "aba"), ("alphabet", "'aba'")),
        (("alphabet", "ab c"), ("alphabet", "'ab c'")),
        (("num_documents", 1), ("num_documents", "1")),
        (("length", 0), ("length", "0")),
        (("sharpness", -1.0), ("sharpness", "-1.0")),
        (("sharpness", "nan"), ("sharpness", "nan")),
        (("seed", -3), ("seed", "-3")),
    ],
)
def test_a_chain_that_cannot_be_is_refused(uddm, markov, options, needles):
    name, value = options
    check(uddm("fit", "-c", markov, f"--data.source.init_args.{name}={value}"), *needles)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ((), True),
        pytest.param(("--data.tokenizer", "CharacterTokenizer"), True, marks=pytest.mark.slow),
        (("--data.tokenizer.init_args.alphabet", "abcde"), False),
        pytest.param(("--data.packing.init_args.length", 8), True, marks=pytest.mark.slow),
        (("--data.packing.init_args.length", 12), False),
    ],
)
def test_the_law_is_known_where_tokens_and_rows_keep_it(uddm, markov, tmp_path, options, known):
    probes = ("--recovery.enabled", "false", "--entropy.enabled", "false")
    outcome = uddm(
        "validate", "-c", markov, "--model.backbone", "MarkovBackbone", "--out", tmp_path / "run", *probes, *options
    )
    assert outcome.status == (0 if known else 2), outcome.err


@pytest.mark.slow
def test_a_sweep_over_known_text_measures_the_best_model_beside_the_others(uddm, markov, tmp_path):
    out = tmp_path / "sweep"
    few = ("--data.num_train_rows", 16, "--data.num_test_rows", 16)
    command = ("sweep", "-c", markov, "--out", out, "--sizes", "4,64", *few)
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    names = {"DiT-n4-s0", "DiT-n64-s0", "MarkovBackbone-n64-s0"}
    assert {path.name for path in (out / "runs").iterdir()} == names
    assert {row["backbone"] for row in table(out)} == {"DiT", "MarkovBackbone"}
    assert '"MarkovBackbone"' not in (out / "transition.json").read_text(encoding="utf-8")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "the exact posterior&#x27;s chain reaches 0." in html
    text = (out / "measurements.csv").read_bytes()
    again = uddm(*command)
    assert "3 of 3 runs are finished already" in again.err
    assert (out / "measurements.csv").read_bytes() == text
    # measured by hand, it is the same
    options = (
        "--model.backbone",
        "MarkovBackbone",
        "--data.train_size",
        64,
        "--out",
        tmp_path / "MarkovBackbone-n64-s0",
    )
    assert uddm("validate", "-c", markov, *few, *options).status == 0
    assert table(tmp_path / "MarkovBackbone-n64-s0") == table(out / "runs" / "MarkovBackbone-n64-s0")
