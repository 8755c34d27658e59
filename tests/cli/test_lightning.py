"""fit, resume, validate, test and predict through the real command line."""

import json
import shutil
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.support.command_line import OFF, check, table
from tests.support.probes import DECLARED
from uddm_lightning.cli.lightning import run_lightning
from uddm_lightning.results.tables import COMMON


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run that tests may change."""
    return shutil.copytree(trained / "run", tmp_path / "run")


def test_fit_prints_its_measurements(trained):
    printed = (trained / "printed.txt").read_text(encoding="utf-8")
    assert "recovery: train" in printed
    assert "NELBO on [0.02, 1]" in printed
    regime, folder, step, _ = printed.rstrip().split("\n")[-4:]
    assert regime.startswith("regime at N = 8: ")
    assert folder == f"run: {trained / 'run'}"
    assert step.startswith(f"next: uddm sample {trained / 'run'} -n 16")


def test_the_recorded_config_is_still_the_resolved_one_at_the_end(config):
    cli = run_lightning(["fit", "-c", str(config), "--out", "run", *OFF])
    assert Path("run/config.yaml").read_text(encoding="utf-8") == cli.dumped()


def test_a_run_folder_holds_everything(run):
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "manifest.json", "checkpoints", "figures"} <= names
    assert {"measurements.csv", "sequences.parquet", "basins.parquet", "rows.parquet", "tables.lock"} <= names
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert not [name for name in names if name.startswith(".")], "temporary files are left"
    rows = table(run)
    assert list(rows[0]) == [*COMMON, *DECLARED.columns]
    times = [float(r["t"]) if r["t"] else -1.0 for r in rows]
    keys = [
        (
            r["run"],
            r["metric"],
            int(r["step"]),
            r["weights"],
            r["split"],
            t,
            r["sampler"],
            float(r["sampler_steps"] or -1),
        )
        for r, t in zip(rows, times, strict=True)
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    on_the_way = {"recovery": ("train", "test", "random"), "entropy": ("train", "test", "samples")}
    on_the_way["nelbo"] = ("train", "test")
    at_the_end = {"trajectory": ("samples",), "basin": ("train", "test", "random"), "samples": ("test", "samples")}
    assert {(r["metric"], r["step"], r["split"]) for r in rows} == {
        (kind, step, split)
        for step, kinds in (("3", on_the_way), ("6", {**on_the_way, **at_the_end}))
        for kind, splits in kinds.items()
        for split in splits
    }
    for row in rows:
        assert row["train_size"] == "8"
        assert row["seed"] == "0"
        assert row["backbone"] == "DiT"
        assert row["n_draws"] == "16"
        assert row["n_rows"] == ("8" if row["split"] == "train" else "16")
        own = {"trajectory": "entropy", "basin": "critical_t", "samples": "generative_perplexity"}
        columns = ("recovery", "entropy", "nelbo", "critical_t", "generative_perplexity")
        filled = {column for column in columns if row[column]}
        assert filled == {own.get(row["metric"], row["metric"])}, "fields of other kinds stay empty"
    recovery = next(r for r in rows if r["metric"] == "recovery")
    assert recovery["sampler"] == "ancestral"
    assert recovery["sampler_steps"] == "10"
    assert recovery["margin"]
    assert float(recovery["recovery"]) == int(recovery["n_recovered"]) / int(recovery["n_corrupted"])
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert {"corpus", "tokenizer", "subset"} <= manifest.keys()
    (machine,) = manifest["machines"]
    assert "core" in machine
    assert 0 < manifest["training_seconds"] < 600


def test_sequences_can_be_drawn_again(run):
    rows = pq.read_table(run / "sequences.parquet").to_pylist()
    assert {(r["split"], r["step"], r["t"]) for r in rows} == {
        (split, step, t) for split in ("train", "test", "random") for step in (3, 6) for t in (0.1, 0.5)
    }
    for row in rows:
        assert len(row["x0"]) == len(row["xt"]) == len(row["xhat"]) == 16
        assert row["entropy"] is None if row["split"] == "random" else len(row["entropy"]) == 16
        for name in ("x0", "xt", "xhat"):
            assert len(row[f"{name}_text"]) == 16
            assert all(row[f"{name}_text"])
        if row["split"] != "random":  # where the id of unknown characters may occur
            assert set("".join(row["x0_text"])) <= set("abcdefghijklmnopqrstuvwxyz ")


def test_tensorboard_shows_the_transition(run):
    events = EventAccumulator(str(run), size_guidance={"histograms": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    scalars = set(tags["scalars"])
    assert {tag for tag in scalars if not tag.startswith("zz_")} == {
        *("recovery/train/t=0.1", "recovery/test/t=0.1", "gap/t=0.1", "entropy/train/t=0.1", "entropy/test/t=0.1"),
        *("nelbo/train/[0.02,1]", "nelbo/test/[0.02,1]", "loss/train"),
    }
    assert {
        *("zz_entropy/train/t=0.5", "zz_entropy/samples/t=0.1", "zz_margin/test", "zz_leave_one_out/train"),
        *("zz_leak/test", "zz_probe/seconds", "zz_probe/share", "zz_recovery/random/t=0.1"),
    } <= scalars
    assert [event.step for event in events.Scalars("recovery/train/t=0.1")] == [3, 6]
    assert 0 < events.Scalars("zz_probe/share")[-1].value <= 1
    gap = events.Scalars("zz_gap/t=0.5")[-1].value
    train, test = (events.Scalars(f"zz_recovery/{split}/t=0.5")[-1].value for split in ("train", "test"))
    assert gap == pytest.approx(train - test, abs=1e-6)
    assert tags["images"] == ["recovery/ema"]
    for tag in ("recovery/ema", "recovery/train/t=0.1", "zz_leak/test", "zz_probe/share"):
        assert events.SummaryMetadata(tag).summary_description.endswith("."), tag
    assert "minus that on test rows" in events.SummaryMetadata("gap/t=0.1").summary_description
    assert any(tag.startswith("zz_entropy_unrecovered/train") for tag in tags["histograms"])
    assert all(tag.startswith("zz_") for tag in tags["histograms"])
    assert [event.step for event in events.Histograms("zz_margin/train")] == [3, 6], "once for all times"
    beside = ("chance", "coincidence", "clean_change_rate", "errors_before", "errors_after")
    assert {f"zz_{name}/{split}/t=0.1" for name in beside for split in ("train", "test")} <= scalars
    assert not [tag for tag in scalars if "bayes_argmax" in tag], "the distribution of this text is not known"
    tensors = set(tags["tensors"])
    panels = sorted(tag for tag in tensors if tag.endswith("text_summary"))
    assert panels[:2] == [f"restored/{split}/t=0.1/text_summary" for split in ("test", "train")]
    assert all(tag.startswith("zz_") for tag in panels[2:])
    text = events.Tensors(panels[1])[-1].tensor_proto.string_val[0].decode()
    assert "original  " in text
    assert "marks: + recovered, x not recovered, ! broken" in text
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    (page,) = layout.category
    shown = {chart.title: [pattern.replace("\\", "") for pattern in chart.multiline.tag] for chart in page.chart}
    assert shown["recovery and gap, t = 0.5"] == [
        f"^zz_{name}/t=0.5$" for name in ("recovery/train", "recovery/test", "gap")
    ]
    assert shown["entropy, t = 0.1"] == ["^entropy/train/t=0.1$", "^entropy/test/t=0.1$"]
    assert len(shown) == 4
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    named = {one.name.tag for one in HParamsPluginData.FromString(content).experiment.metric_infos}
    assert named == {tag for tag in scalars if not tag.startswith("zz_")} - {"loss/train"}


def test_validate_repeats_what_fit_logged_bit_for_bit(run, uddm):
    path, before = run / "measurements.csv", {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    text, parquet = path.read_bytes(), [p.read_bytes() for p in sorted(run.glob("*.parquet"))]
    lines = text.splitlines(keepends=True)
    # a validation must restore the lost part and keep the rest
    path.write_bytes(b"".join(line for line in lines if b",6,ema,test" not in line))
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert outcome.status == 0, outcome.err
    assert path.read_bytes() == text
    changed = {p.name for p in run.rglob("*") if p.is_file() and before.get(p) != p.stat().st_mtime_ns}
    tables = {"measurements.csv", "sequences.parquet", "basins.parquet", "rows.parquet"}
    assert changed <= {*tables, "tables.lock"}
    assert [p.read_bytes() for p in sorted(run.glob("*.parquet"))] == parquet


def test_a_quick_validation_does_not_replace_precise_results_by_default(run, uddm):
    tables = ("measurements.csv", "sequences.parquet", "basins.parquet", "rows.parquet")
    before = {name: (run / name).read_bytes() for name in tables}
    checkpoint = run / "checkpoints" / "last.ckpt"
    quick = [word for name in ("train", "test", "sample", "random") for word in (f"--data.num_{name}_rows", 4)]
    command = ("validate", "-c", run / "config.yaml", "--ckpt_path", checkpoint, *quick)
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    count = sum(row["step"] == "6" for row in table(run))
    line = f"{count} earlier row(s) of the tables rest on more draws and are kept (basin, entropy, nelbo, recovery, "
    assert line in outcome.out
    assert "`--table.overwrite true` replaces them" in outcome.out
    assert {name: (run / name).read_bytes() for name in tables} == before
    outcome = uddm(*command, "--table.overwrite", "true")
    assert outcome.status == 0, outcome.err
    assert {row["n_draws"] for row in table(run) if row["step"] == "6"} == {"4"}
    draws = pq.read_table(run / "rows.parquet").to_pylist()
    assert {row["draw"] for row in draws if row["step"] == 6} == set(range(4))
    assert {row["draw"] for row in draws if row["step"] == 3} == set(range(16))


def test_the_reference_time_may_have_its_own_number_of_draws(run, uddm):
    checkpoint = run / "checkpoints" / "last.ckpt"
    more = ("--data.num_train_rows", 40, "--data.num_test_rows", 40, "--entropy.num_rows", 16, "--nelbo.num_rows", 16)
    draws = ("--recovery.num_rows", 12, "--recovery.num_reference_rows", 40, "--table.overwrite", "true")
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", checkpoint, *more, *draws)
    assert outcome.status == 0, outcome.err
    before = {(r["metric"], r["step"], r["split"], r["t"]): r for r in table(run)}
    for split, rows in (("train", "8"), ("test", "40")):
        reference, other = (before["recovery", "6", split, t] for t in ("0.1", "0.5"))
        assert (reference["n_draws"], reference["n_rows"]) == ("40", rows)
        assert (other["n_draws"], other["n_rows"]) == ("12", "8" if split == "train" else "12")
        assert {before["entropy", "6", split, t]["n_draws"] for t in ("0.1", "0.5")} == {"16"}
    every = pq.read_table(run / "rows.parquet").to_pylist()
    mine = [r for r in every if (r["metric"], r["step"], r["split"]) == ("recovery", 6, "test")]
    assert sorted(r["draw"] for r in mine if r["t"] == 0.1) == list(range(40))
    assert sorted(r["draw"] for r in mine if r["t"] == 0.5) == list(range(12))
    margins = {r["draw"]: r["margin"] for r in mine if r["t"] == 0.1}
    assert all((margins[draw] is None) == (draw >= 12) for draw in range(40)), "margins are those of the usual draws"
    kept = pq.read_table(run / "sequences.parquet").to_pylist()
    assert sum((r["step"], r["split"], r["t"]) == (6, "test", 0.5) for r in kept) == 12


def test_every_draw_leaves_a_row(run):
    draws = pq.read_table(run / "rows.parquet").to_pylist()
    rows = table(run)
    for kind, sums in (
        ("recovery", {"corrupted": "n_corrupted", "recovered": "n_recovered", "changed": "n_clean_changed"}),
        ("entropy", {"entropy": "entropy"}),
        ("nelbo", {"loss": "nelbo"}),
    ):
        for row in (row for row in rows if row["metric"] == kind):
            key = {"metric": kind, "split": row["split"], "step": int(row["step"]), "weights": row["weights"]}
            key |= {"t": float(row["t"]) if row["t"] else None, "sampler": row["sampler"]}
            key |= {"sampler_steps": int(row["sampler_steps"]) if row["sampler_steps"] else None}
            mine = [draw for draw in draws if {name: draw[name] for name in key} == key]
            assert len(mine) == int(row["n_draws"]) == len({draw["draw"] for draw in mine})
            assert len({draw["row_id"] for draw in mine}) == int(row["n_rows"])
            for name, column in sums.items():
                total = sum(draw[name] for draw in mine)
                total = total if kind == "recovery" else total / sum(draw["count"] for draw in mine)
                assert total == pytest.approx(float(row[column]))
            others = {"margin", "corrupted", "clean"} if kind == "recovery" else {"count"}
            filled = {name for draw in mine for name in draw if draw[name] is not None}
            assert filled - {"document", *key, "row_id", "draw", "recovered"} == {*others, *sums} - {"recovered"}


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 7, pytest.param(64, marks=pytest.mark.slow)])
def test_results_do_not_depend_on_the_batch_size(run, uddm, size):
    before = table(run)
    options = ("--data.eval_batch_size", size)
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints/last.ckpt", *options)
    assert outcome.status == 0, outcome.err
    for row, old in zip(table(run), before, strict=True):
        assert {name: value for name, value in row.items() if name.startswith("n_")} == {
            name: value for name, value in old.items() if name.startswith("n_")
        }


def test_a_checkpoint_is_not_measured_into_another_folder(run, uddm, tmp_path):
    other = ("--out", tmp_path / "other")
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", *other)
    check(outcome, "--out", str(tmp_path / "other"), str(run))
    assert not (tmp_path / "other").exists()


def test_test_measures_all_held_out_rows(run, uddm):
    limits = ("--recovery.num_rows", 2, "--recovery.num_reference_rows", 4, "--entropy.num_rows", 2)
    outcome = uddm("test", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt", *limits)
    assert outcome.status == 0, outcome.err
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    row = next(r for r in table(run) if r["split"] == "test" and r["step"] == "6" and r["metric"] == "recovery")
    assert int(row["n_draws"]) == int(row["n_rows"]) > 16
    assert row["n_rows"] in json.dumps(manifest)


def test_predict_restores_the_lines_of_a_file(run, uddm, tmp_path, config):
    text = tmp_path / "given.txt"
    text.write_text("the peoqle of xhe stat\nwar and\n", encoding="utf-8")
    out = tmp_path / "restored"
    outcome = uddm(
        *("predict", "-c", run / "config.yaml", "--ckpt_path", "last"),
        *("--text", text, "--out", out),
    )
    assert outcome.status == 0, outcome.err
    rows = [json.loads(line) for line in (out / "restored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "".join(row["given"] for row in rows if row["line"] == rows[0]["line"]).startswith("the peo")
    assert rows[-1]["given"] == "war and"
    assert all(row["restored"] and row["sampler"] == "ancestral" for row in rows)
    assert "given" in outcome.out


def test_a_resumed_run_equals_an_uninterrupted_one(run, uddm, config_on_the_way, tmp_path):
    other = tmp_path / "other"
    assert uddm("fit", "-c", config_on_the_way, "--out", other, "--trainer.max_steps", 3).status == 0
    text = (other / "config.yaml").read_text(encoding="utf-8")
    assert "max_steps: 3" in text
    outcome = uddm("fit", "-c", other / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6)
    assert outcome.status == 0, outcome.err
    assert (other / "config.yaml").read_text(encoding="utf-8") == text.replace("max_steps: 3", "max_steps: 6")
    assert (other / "config-3.yaml").read_text(encoding="utf-8") == text, "what held before is kept"
    here, there = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for path in (run, other)
    )
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    first, second = ([{**row, "run": ""} for row in table(path)] for path in (run, other))
    # the other run ended once before, with the measurements of the end of a run
    assert first == [row for row in second if row["step"] == "6" or row["metric"] in ("recovery", "entropy", "nelbo")]


def test_a_run_may_be_moved(run, uddm, tmp_path):
    before = table(run)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    run.rename(moved)
    outcome = uddm("validate", "-c", moved / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert table(moved) == before, "a run is known by what it is, not by the name of its folder"
    assert not run.exists()


def test_a_run_has_its_own_folder_by_default(uddm, config):
    assert uddm("fit", "-c", config, "--trainer.max_steps", 3).status == 0
    assert (Path("runs") / "tiny-n8-s0" / "measurements.csv").exists()


def test_raw_and_averaged_weights_have_separate_results(uddm, config, tmp_path):
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "both", "--recovery.weights", "[ema,raw]")
    assert outcome.status == 0, outcome.err
    rows = [r for r in table(tmp_path / "both") if r["metric"] == "recovery" and r["step"] == "6"]
    by_weights = {w: [r["margin"] for r in rows if r["weights"] == w] for w in ("ema", "raw")}
    assert by_weights["ema"] != by_weights["raw"]
    assert len(by_weights["ema"]) == len(by_weights["raw"])


def test_probes_can_be_disabled_and_limited(uddm, config, tmp_path):
    options = ("--recovery.num_rows", 5, "--recovery.num_rows_during_training", 2, "--nelbo.enabled", "false")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "few", *options)
    assert outcome.status == 0, outcome.err
    rows = table(tmp_path / "few")
    assert {r["metric"] for r in rows} == {"recovery", "entropy", "trajectory", "basin", "samples"}
    assert {(r["step"], r["n_draws"]) for r in rows if r["metric"] == "recovery"} == {("3", "2"), ("6", "5")}
    for row in rows:
        if row["metric"] == "entropy":  # the chain ran on fewer draws, which alone are split by recovery
            assert row["n_draws"] == "16"
            assert row["sampler"] == "ancestral"
            assert bool(row["entropy_unrecovered"]) == (row["split"] != "samples")


def test_training_is_the_same_whether_it_is_measured_or_not(run, uddm, config_on_the_way, tmp_path):
    kinds = ("recovery", "entropy", "nelbo", "trajectory", "basin", "samples")
    off = [word for kind in kinds for word in (f"--{kind}.enabled", "false")]
    assert uddm("fit", "-c", config_on_the_way, "--out", tmp_path / "blind", *off).status == 0
    here, there = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (run, tmp_path / "blind")
    )
    assert all(torch.equal(here[name], there[name]) for name in here)


OBJECTIVES = ("NELBO", "DenoisingCrossEntropy", "LeaveOneOutCrossEntropy", "DuoCurriculum")
TOGETHER = list(product(OBJECTIVES, ("CosineSchedule", "LogLinearSchedule"), (1, 0.5)))
# the other combinations skip the probes that take most of the time
WITHOUT_CHAINS = ("--trajectory.enabled=false", "--basin.enabled=false", "--samples.enabled=false")
EACH_ONCE = (  # every value of every column, in four runs
    ("NELBO", "CosineSchedule", 1),
    ("LeaveOneOutCrossEntropy", "LogLinearSchedule", 1),
    ("DenoisingCrossEntropy", "LogLinearSchedule", 0.5),
    ("DuoCurriculum", "CosineSchedule", 0.5),
)
# with these, also every pair of two values
OTHER_PAIRS = (
    ("NELBO", "LogLinearSchedule", 0.5),
    ("LeaveOneOutCrossEntropy", "CosineSchedule", 0.5),
    ("DenoisingCrossEntropy", "CosineSchedule", 1),
    ("DuoCurriculum", "LogLinearSchedule", 1),
)


@pytest.mark.parametrize(
    ("objective", "schedule", "size"),
    [
        *EACH_ONCE,
        *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHER_PAIRS),
        *(pytest.param(*one, marks=pytest.mark.bar) for one in TOGETHER if one not in (*EACH_ONCE, *OTHER_PAIRS)),
    ],
)
def test_plugins_can_be_combined(uddm, config, tmp_path, objective, schedule, size):
    outcome = uddm(
        *("fit", "-c", config, "--out", tmp_path / "run", "--data.train_size", size),
        *("--model.objective", objective, "--model.process.init_args.schedule", schedule),
        *(() if (objective, schedule, size) in EACH_ONCE else WITHOUT_CHAINS),
    )
    assert outcome.status == 0, outcome.err
    assert table(tmp_path / "run")


def test_bfloat16_trains_and_is_measured_in_float64(uddm, config, tmp_path):
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", "--trainer.precision", "bf16-mixed")
    assert outcome.status == 0, outcome.err
    assert table(tmp_path / "run")


@pytest.mark.slow
def test_workers_do_not_change_a_run(run, uddm, config_on_the_way, tmp_path):
    assert uddm("fit", "-c", config_on_the_way, "--out", tmp_path / "workers", "--data.num_workers", 2).status == 0
    first, second = ([{**row, "run": ""} for row in table(path)] for path in (run, tmp_path / "workers"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokenizer", "packing"),
    [
        ("WordPieceTokenizer", "DocumentPacking"),
        ("BPETokenizer", "WrappedPacking"),
        pytest.param("WordPieceTokenizer", "WrappedPacking", marks=pytest.mark.bar),
        pytest.param("BPETokenizer", "DocumentPacking", marks=pytest.mark.bar),
    ],
)
def test_word_pieces_and_padding_train_too(uddm, config, tmp_path, tokenizer, packing):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"]["tokenizer"] = {"class_path": tokenizer, "init_args": {"vocab_size": 300}}
    settings["data"]["packing"] = {"class_path": packing, "init_args": {"length": 20}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    for include in ("false", "true"):
        out = tmp_path / include
        probes = () if include == "true" else (*OFF, "--recovery.enabled", "true")
        outcome = uddm("fit", "-c", config, "--out", out, "--recovery.include_special", include, *probes)
        assert outcome.status == 0, outcome.err
    counts = [
        sum(int(r["n_corrupted"]) for r in table(tmp_path / include) if r["metric"] == "recovery")
        for include in ("false", "true")
    ]
    assert counts[0] < counts[1], "special positions are counted only on request"
