"""A probe from outside of the package appears in table, TensorBoard, terminal, report and sweep."""

import json

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from uddm_lightning.results.tables import read_table

NAME = "tests.support.rare_probe.EndProbe"
OTHERS = [
    word for kind in ("recovery", "nelbo", "basin", "trajectory", "samples") for word in (f"--{kind}.enabled", "false")
]
QUICK = (*OTHERS, "--entropy.times", "[0.1]", "--entropy.num_rows", "2")


def test_a_third_party_probe_appears_everywhere(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    command = ("sweep", "-c", config, "--out", out, "--sizes", "4,8", "--jobs", "1", *QUICK, "--probes+", NAME)
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    rows = [row for row in read_table(out / "measurements.csv") if row["metric"] == "end"]
    assert {(row["train_size"], row["split"], row["t"]) for row in rows} == {
        (size, split, "0.3") for size in ("4", "8") for split in ("train", "test")
    }
    assert all(0.0 < float(row["end_likelihood"]) < 1.0 for row in rows)

    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<section id="end"><h2>The last token of a row</h2>' in page
    assert "Probability that the model gives to the last token of a row." in page
    assert "end likelihood [probability]" in page
    assert (out / "figures" / "end.png").exists()
    declared = {tuple(one["metrics"]): one for one in json.loads((out / "columns.json").read_text(encoding="utf-8"))}
    assert declared[("end",)]["columns"][0]["meaning"] == "probability of the last token of a row"
    summary = EventAccumulator(str(out / "summary" / "DiT"))
    summary.Reload()
    assert [event.step for event in summary.Scalars("zz_transition/end_likelihood/test/t=0.3")] == [2, 3]

    (run,) = (out / "runs").glob("*n8*")
    events = EventAccumulator(str(run))
    events.Reload()
    last = [row for row in rows if row["train_size"] == "8" and row["split"] == "test" and row["step"] == "6"]
    shown = events.Scalars("end_likelihood/test/t=0.3")[-1]
    assert shown.value == pytest.approx(float(last[0]["end_likelihood"]), rel=1e-6)


def test_a_config_may_name_it_and_a_callback_may_monitor_it(uddm, config, tmp_path):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["probes"] = [{"class_path": NAME, "init_args": {"times": [0.2, 0.4], "num_rows": 3}}]
    settings["trainer"]["callbacks"] = [
        {"class_path": "EarlyStopping", "init_args": {"monitor": "end_likelihood/test/t=0.4", "patience": 100}}
    ]
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *QUICK)
    assert outcome.status == 0, outcome.err
    assert "   Likelihood of the last token at t = 0.4: train 0." in outcome.out
    measured = read_table(tmp_path / "run" / "measurements.csv")
    again = uddm("validate", "-c", tmp_path / "run" / "config.yaml", "--ckpt_path", "last")
    assert again.status == 0, again.err
    assert read_table(tmp_path / "run" / "measurements.csv") == measured, "the run's config holds the probe"
    gone = uddm("validate", "-c", tmp_path / "run" / "config.yaml", "--ckpt_path", "last", "--probes", "[]")
    assert gone.status == 0, gone.err
    assert read_table(tmp_path / "run" / "measurements.csv") == measured, "its rows and columns stay"


def test_an_undeclared_field_is_an_error(uddm, config, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.rare_probe.EndProbe.columns", ())
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *QUICK, "--probes+", NAME)
    assert outcome.status == 2
    assert "`EndProbe` records the field `end_likelihood`, which it does not declare" in outcome.err
