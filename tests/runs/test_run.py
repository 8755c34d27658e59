"""`load_run` gives the numbers and texts of the commands `predict`, `sample`, `validate` and `probe`."""

import json

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.run import load_run

LINES = ["the people of peace", "our great congress and the public law of the year"]


@pytest.fixture
def run(trained, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    return load_run(trained / "run", device="cpu")


def test_a_run_knows_its_config_and_step(run, trained):
    assert (run.step, run.folder, run.weights) == (6, trained / "run", "ema")
    assert run.config["model"]["backbone"]["init_args"]["hidden_size"] == 16
    assert load_run(trained / "run" / "config.yaml", weights="raw").weights == "raw"


def test_restored_text_equals_that_of_predict(run, uddm, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    words = ("--text", tmp_path / "lines.txt", "--model.predict_t", 0.5, "--out", tmp_path)
    given = ("-c", run.folder / "config.yaml", "--ckpt_path", "last")
    assert uddm("predict", *given, *words).status == 0
    rows = [json.loads(line) for line in (tmp_path / "restored.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = ["".join(row["restored"] for row in rows if row["line"] == number) for number in (1, 2)]
    assert run.restore(LINES, t=0.5) == expected
    assert run.restore(LINES[0], t=0.5) == expected[0]
    assert run.restore(["", LINES[0]], t=0.5)[0] == ""
    with pytest.raises(InputError, match="`texts` contains no text"):
        run.restore("")


def test_samples_equal_those_of_the_command(run, uddm, tmp_path):
    import pyarrow.parquet as pq

    assert uddm("sample", run.folder, "-n", 5, "--out", tmp_path / "s.parquet").status == 0
    assert run.sample(5) == pq.read_table(tmp_path / "s.parquet")["text"].to_pylist()
    assert run.sample(2, seed=1) != run.sample(2)


def test_samples_are_ids_without_a_tokenizer(run, monkeypatch, tmp_path):
    tokenizer, texts = run.model.tokenizer(fetch=False), run.sample(2)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path))
    assert [tokenizer.decode(ids) for ids in run.sample(2)] == texts
    for call in (lambda: run.restore("people"), lambda: run.entropy(["people"]), lambda: run.recovery(["people"])):
        with pytest.raises(InputError, match="was learned from its text, which is not in the cache"):
            call()


def test_entropy_of_samples_equals_that_of_the_run(run):
    found = run.entropy(t=[0.1, 0.5], num_rows=16).to_pylist()
    measured = [
        row
        for row in run.results().to_pylist()
        if (row["metric"], row["split"], row["step"]) == ("entropy", "samples", 6)
    ]
    assert [row["t"] for row in found] == [0.1, 0.5]
    for mine, theirs in zip(found, measured, strict=True):
        assert all(mine[name] == theirs[name] for name in ("entropy", "entropy_low", "entropy_high", "n_rows"))


def test_entropy_and_recovery_of_texts_have_intervals(run, tmp_path):
    [entropy] = run.entropy(LINES, t=0.5).to_pylist()
    assert entropy["entropy_low"] <= entropy["entropy"] <= entropy["entropy_high"]
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    assert repr(run.entropy(tmp_path / "lines.txt", t=0.5).to_pylist()) == repr([entropy])  # NaN among the values
    [recovery] = run.recovery(LINES, t=0.5).to_pylist()
    assert recovery["recovery_low"] <= recovery["recovery"] <= recovery["recovery_high"]
    assert 0.0 < recovery["chance"] < 1.0
    assert recovery["n_rows"] == entropy["n_rows"] == 6, "rows of 16 characters"
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]|must be in \(0, 1\]"):
        run.recovery(LINES, t=2.0)


def test_results_are_typed(run, tmp_path):
    table = run.results()
    assert str(table.schema.field("recovery").type) == "double"
    assert str(table.schema.field("train_size").type) == "int64"
    assert set(table["metric"].to_pylist()) >= {"recovery", "entropy", "nelbo"}
    (run.folder / "measurements.csv").rename(tmp_path / "away.csv")
    try:
        with pytest.raises(InputError, match="was not measured"):
            run.results()
    finally:
        (tmp_path / "away.csv").rename(run.folder / "measurements.csv")
