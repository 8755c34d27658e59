"""Basins, trajectories, random rows and a second chain, through the command line."""

import csv

import pyarrow.parquet as pq
import pytest
import yaml

from uddm_lightning.results.tables import BASINS


def table(folder):
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_measures_them_at_its_end_and_a_second_chain_stands_beside_the_first(uddm, config, tmp_path):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"]["num_random_rows"] = 8
    settings["basin"] = {"num_rows": 12}
    settings["trajectory"] = {"num_points": 4}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = tmp_path / "runs" / "one"
    outcome = uddm("fit", "-c", config, "--out", run)
    assert outcome.status == 0, outcome.err
    assert "critical corruption t, mean: train" in outcome.out
    rows = table(run)
    basins = [row for row in rows if row["metric"] == "basin"]
    assert [(row["step"], row["split"], row["n_draws"]) for row in basins] == [
        ("6", "random", "8"),
        ("6", "test", "12"),
        ("6", "train", "12"),
    ]
    on_the_way = [(row["step"], float(row["t"])) for row in rows if row["metric"] == "trajectory"]
    assert on_the_way == [("6", t) for t in sorted(t for _, t in on_the_way)]
    assert (len(on_the_way), on_the_way[-1]) == (4, ("6", 1.0))
    assert {row["split"] for row in rows if row["metric"] == "recovery"} == {"train", "test", "random"}
    assert all(row["fixed_tokens"] and row["fixed_rows"] for row in rows if row["metric"] == "recovery")

    kept = pq.read_table(run / "basins.parquet")
    assert kept.schema == BASINS
    assert kept["split"].to_pylist() == ["random"] * 8 + ["test"] * 12 + ["train"] * 12
    assert all(len(margin) == 16 for margin in kept["margin"].to_pylist())

    measure = ("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert uddm(*measure).status == 0
    assert table(run) == rows, "measured again, the same"
    assert pq.read_table(run / "basins.parquet").equals(kept)

    second = ("--recovery.sampler", "AncestralSampler", "--recovery.sampler.decoding", "argmax")
    alone = (*second, "--recovery.sampler.steps", "10", "--entropy.enabled", "false", "--nelbo.enabled", "false")
    outcome = uddm(*measure, *alone, "--basin.enabled", "false", "--trajectory.enabled", "false")
    assert outcome.status == 0, outcome.err
    both = table(run)
    assert [row for row in both if row["sampler"] != "argmax-posterior"] == rows, "the rows of the first chain stay"
    added = [row for row in both if row["sampler"] == "argmax-posterior"]
    assert {(row["metric"], row["split"]) for row in added} == {("recovery", s) for s in ("train", "test", "random")}

    assert uddm("report", tmp_path / "runs").status == 0
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "Recovery by other chains" in page
    assert "argmax-posterior, 10 steps" in page
    for figure in ("basins", "margins", "trajectories"):
        assert (tmp_path / "runs" / "figures" / f"{figure}.png").exists(), figure
    together = pq.read_table(tmp_path / "runs" / "basins.parquet")
    assert together.column_names[:4] == ["run", "backbone", "train_size", "seed"]
    assert len(together) == 32
