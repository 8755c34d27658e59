"""`uddm sweep` and `uddm report` through the command line, with a launcher that writes made-up runs."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import table
from uddm_lightning.core.files import hold_lock
from uddm_lightning.report.formatting import count

WITH_FIGURES = ("--launcher", "tests.support.fake_launcher.FakeLauncher")
FAKE = (*WITH_FIGURES, "--page-only")  # half of the time


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def _tables_only(monkeypatch):
    """Draw no page: that takes most of the time, and these tests read tables and messages."""
    monkeypatch.setattr("uddm_lightning.sweeps.results.write_report", lambda *_: None)


def transition(folder: Path) -> dict:
    return json.loads((folder / "transition.json").read_text(encoding="utf-8"))


def crossing(folder: Path, method: str, backbone: str = "DiT") -> dict:
    [found] = [e for e in transition(folder)["backbones"][backbone]["estimates"] if e["method"] == method]
    return found


def refused(outcome, *needles: str) -> None:
    assert outcome.status == 2, outcome.err
    message = outcome.err[outcome.err.index("uddm: error: ") :]
    assert len(message.strip().splitlines()) == 1, message
    for needle in needles:
        assert needle in message, message


# --- from sizes to the transition -----------------------------------------------------------------------------------


def test_a_sweep_ends_with_the_transition(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    options = ("--launcher.turn", 12, "--sizes", "1:256:x4", "--seeds", "0,1")
    outcome = uddm("sweep", "-c", config, "--out", out, *WITH_FIGURES, *options)
    assert outcome.status == 0, outcome.err
    assert {path.name for path in (out / "runs").iterdir()} == {f"DiT-n{4**k}-s{s}" for k in range(5) for s in (0, 1)}
    assert {(row["train_size"], row["seed"]) for row in table(out)} == {
        (str(4**k), s) for k in range(5) for s in ("0", "1")
    }
    half = crossing(out, "recovery")["n_half"]
    assert half["low"] < half["value"] < half["high"]
    assert half["low"] <= 12 <= half["high"]
    assert f"DiT: N_half = {count(half['value'])} rows (95 % interval {count(half['low'])} to" in outcome.out
    assert "DiT, recovery at t = 0.1: N_mem = 1 rows" in outcome.out
    assert "DiT, entropy, train rows at t = 0.1: N_half = " in outcome.out
    assert "entropy, train rows at t = 0.1: N_gen" not in outcome.out, "it is not defined"
    assert str(out / "report.html") in outcome.out
    assert (out / "report.html").stat().st_size > 10_000
    assert list((out / "figures").glob("recovery.png"))
    assert f"`tensorboard --logdir {out / 'tensorboard'}`, then open http://localhost:6006; " in outcome.err
    links = sorted(path.name for path in (out / "tensorboard").iterdir())
    sizes = sorted(int(name.split("-")[1][1:]) for name in links if name.startswith("DiT"))
    assert [int(name.split("-")[1][1:]) for name in links if name.startswith("DiT")] == sizes, "in their order"
    assert "transition-DiT" in links
    assert (out / "tensorboard" / "transition-DiT").is_dir()
    command = (out / "command.txt").read_text(encoding="utf-8")
    assert command.startswith("uddm sweep -c ")
    assert "--sizes 1:256:x4 --seeds 0,1" in command


@pytest.mark.usefixtures("_tables_only")
def test_the_same_command_repeats_no_run_and_others_add_runs(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    assert uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "2,8,32").status == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    outcome = uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "2,8,32,128")
    assert outcome.status == 0
    assert "3 of 4 runs are finished already" in outcome.err
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert before.items() <= after.items()
    assert {row["train_size"] for row in table(out)} == {"2", "8", "32", "128"}


POOL = 1022  # rows of the corpus


@pytest.mark.usefixtures("_tables_only")
@pytest.mark.parametrize(
    ("options", "sizes", "noted"),
    [
        (("--sizes", "2,8"), ["2", "8"], False),
        (("--sizes", "0.5,1.0"), [str(POOL // 2), str(POOL)], False),
        ((), ["2", "8", "32", "128", "512", str(POOL)], True),
        (("--data.train_size", 40), ["2", "8", "32", "40"], False),
        (("--data.train_size=0.01",), ["2", "8", "10"], False),
        (("--sizes", "auto", "--budget", 4), ["8", str(POOL)], True),
        (("--sizes", "auto", "--budget", 4, "--data.train_size", 100), ["8", "100"], False),
    ],
)
def test_the_size_of_the_config_limits_the_sizes(uddm, config, tmp_path, options, sizes, noted):
    text = config.read_text(encoding="utf-8")
    assert "  train_size: 8\n" in text
    config.write_text(text.replace("  train_size: 8\n", "  train_size: 8192\n"), encoding="utf-8")
    outcome = uddm("sweep", "-c", config, "--out", tmp_path / "sweep", *FAKE, *options)
    assert outcome.status == 0, outcome.err
    found = sorted({int(row["train_size"]) for row in table(tmp_path / "sweep")})
    if "auto" in options:
        assert [str(found[0]), str(found[-1])] == sizes
    else:
        assert list(map(str, found)) == sizes
    line = f"uddm: sizes end at {POOL}, the training rows of the text, not at `data.train_size` = 8192.\n"
    assert (line in outcome.err) == noted


@pytest.mark.usefixtures("_tables_only")
def test_sizes_may_come_from_a_file(uddm, config, tmp_path):
    (tmp_path / "study.yaml").write_text("sweep:\n  sizes: [2, 8]\n  seeds: [0, 1]\n", encoding="utf-8")
    files, out = ("-c", config, "-c", tmp_path / "study.yaml"), tmp_path / "sweep"
    assert uddm("sweep", *files, "--out", out, *FAKE, "--seeds", 3).status == 0
    assert {(row["train_size"], row["seed"]) for row in table(out)} == {("2", "3"), ("8", "3")}
    refused(uddm("sweep", "-c", tmp_path / "study.yaml", "--out", out), "-c CONFIG")
    refused(uddm("fit", *files), "sweep")


@pytest.mark.usefixtures("_tables_only")
def test_a_failed_run_is_shown_and_does_not_stop_the_others(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    outcome = uddm("sweep", "-c", config, "--out", out, *FAKE, "--launcher.fails", 8, "--sizes", "2:32:x4")
    assert outcome.status == 1
    assert "DiT-n8-s0 FAILED: ended by signal SIGKILL" in outcome.err
    assert "    no memory left" in outcome.err
    assert "1 run(s) failed: DiT-n8-s0. The same command trains them again." in outcome.err
    assert {row["train_size"] for row in table(out)} == {"2", "32"}
    assert uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "2:32:x4").status == 0
    assert {row["train_size"] for row in table(out)} == {"2", "8", "32"}


@pytest.mark.slow
@pytest.mark.usefixtures("_tables_only")
def test_adaptive_sizes_are_near_the_transition(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    auto = ("--sizes", "auto:1:256", "--budget", 6, "--launcher.turn", 20)
    outcome = uddm("sweep", "-c", config, "--out", out, *FAKE, *auto)
    assert outcome.status == 0, outcome.err
    sizes = sorted({int(row["train_size"]) for row in table(out)})
    assert len(sizes) == 6
    assert sizes[0] == 1
    assert sizes[-1] == 256
    assert len([size for size in sizes if 5 <= size <= 80]) >= 3
    assert crossing(out, "recovery")["n_half"]["value"] == pytest.approx(20, rel=0.2)
    assert uddm("sweep", "-c", config, "--out", out, *FAKE, *auto).status == 0
    assert sorted({int(row["train_size"]) for row in table(out)}) == sizes, (
        "what is there decides, not how often it was asked"
    )


@pytest.mark.slow
def test_backbones_are_named_by_their_files(uddm, config, tmp_path):
    for hidden in (8, 16):
        fragment = {"model": {"backbone": {"class_path": "DiT", "init_args": {"hidden_size": hidden}}}}
        (tmp_path / f"wide{hidden}.yaml").write_text(yaml.safe_dump(fragment), encoding="utf-8")
    out = tmp_path / "sweep"
    files = ("--backbone", tmp_path / "wide8.yaml", "--backbone", tmp_path / "wide16.yaml")
    outcome = uddm("sweep", "-c", config, "--out", out, *FAKE, *files, "--sizes", "4:256:x4")
    assert outcome.status == 0, outcome.err
    assert {row["backbone"] for row in table(out)} == {"wide8", "wide16"}
    assert set(transition(out)["backbones"]) == {"wide8", "wide16"}
    shutil.copy(tmp_path / "wide8.yaml", tmp_path / "cache.yaml")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "wide8.yaml", tmp_path / "other" / "wide8.yaml")
    named = tmp_path / "named"
    assert (
        uddm("sweep", "-c", config, "--out", named, *FAKE, "--sizes", "2", "--backbone", "backbones/hidden32").status
        == 0
    )
    assert {row["backbone"] for row in table(named)} == {"hidden32"}
    unknown = ("--backbone", "backbones/hiden32")
    message = "`--backbone backbones/hiden32`: no such file, and no shipped config; did you mean `backbones/hidden32`?"
    refused(uddm("sweep", "-c", config, "--out", tmp_path / "x", *unknown), f"{message} `uddm configs` lists them.")
    twice = ("--backbone", tmp_path / "wide8.yaml", "--backbone", tmp_path / "other" / "wide8.yaml")
    refused(uddm("sweep", "-c", config, "--out", out, *twice), "--backbone", "wide8")


def test_a_report_needs_tables_only(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    assert uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "4:256:x4").status == 0
    written = (out / "transition.json").read_bytes()
    for name in ("transition.json", "report.html"):
        (out / name).unlink()
    shutil.rmtree(out / "runs")
    assert uddm("report", out, "--page-only").status == 0
    assert (out / "report.html").exists()
    assert not (out / "figures").exists()
    assert uddm("report", out).status == 0
    assert (out / "transition.json").read_bytes() == written
    assert (out / "figures" / "recovery.pdf").exists()
    assert 'href="figures/recovery.pdf"' in (out / "report.html").read_text(encoding="utf-8")


def test_a_report_of_any_folder_of_runs(uddm, config, tmp_path):
    assert uddm("sweep", "-c", config, "--out", tmp_path / "sweep", *FAKE, "--sizes", "4:256:x4").status == 0
    (tmp_path / "sweep" / "runs").rename(tmp_path / "mine")
    outcome = uddm("report", tmp_path / "mine")
    assert outcome.status == 0, outcome.err
    assert table(tmp_path / "mine") == table(tmp_path / "sweep")


# --- wrong input is named ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        ((), ("--out",)),
        (("--out", "x", "--sizes", ""), ("--sizes", "''")),
        (("--out", "x", "--sizes", "2:8:x1.00000001"), ("--sizes", "more than 10,000 values", "larger factor")),
        (("--out", "x", "--sizes", "2:8"), ("--sizes", "'2:8'", "2:8192:x4")),
        (("--out", "x", "--sizes", "8,100000"), ("--sizes", "100000", "training rows")),
        (("--out", "x", "--sizes", "2,8", "--data.train_size", 8), ("--data.train_size 8", "--sizes")),
        (("--out", "x", "--sizes=auto:2:8", "--budget", 4, "--data.train_size=9"), ("--data.train_size 9", "--sizes")),
        (("--out", "x", "--data.train_size", 100000), ("data.train_size", "100000", "training rows")),
        (("--out", "x", "--data.train_size", "many"), ("data.train_size", "many")),
        (("--out", "x", "--seed_everything=3"), ("--seed_everything=3", "--seeds")),
        (("--out", "x", "--seeds", "0,one"), ("--seeds 0,one",)),
        (("--out", "x", "--seeds", "-1"), ("--seeds -1",)),
        (("--out", "x", "--sizes", "auto"), ("--budget",)),
        (("--out", "x", "--sizes", "auto:8", "--budget", 6), ("auto:8", "auto:2:8192")),
        (("--out", "x", "--sizes", "auto:8:8", "--budget", 6), ("8 to 8",)),
        (("--out", "x", "--budget", 6), ("--budget 6", "--sizes auto")),
        (("--out", "x", "--budget", "six"), ("--budget", "six")),
        (("--out", "x", "--jobs", 0), ("uddm: error: `--jobs` must be at least 1, got 0.\n",)),
        (("--out", "x", "--launcher", "Rocket"), ("Rocket",)),
        (("--out", "x", "--launcher.rockets", 3), ("rockets",)),
        (("--out", "x", "--backbone", "none.yaml"), ("none.yaml",)),
        (("--out", "x", "--model.backbone.init_args.hiden", 8), ("hiden",)),
        (("--out", "x", "--trainer.max_steps", -1), ("trainer.max_steps", "-1")),
    ],
)
def test_a_wrong_option_is_named(uddm, config, options, needles):
    refused(uddm("sweep", "-c", config, *options), *needles)
    assert not Path("x").exists()


def test_a_missing_config_is_named(uddm):
    refused(uddm("sweep", "--out", "x"), "-c CONFIG")
    refused(uddm("sweep", "-c", "no.yaml", "--out", "x"), "no.yaml")


def test_a_folder_without_measurements_is_named(uddm, tmp_path):
    refused(uddm("report", tmp_path), str(tmp_path), "measurements")
    (tmp_path / "measurements.csv").write_text("a,b\n", encoding="utf-8")
    refused(uddm("report", tmp_path), "measurements.csv", "'run'")


@pytest.mark.slow
@pytest.mark.usefixtures("_tables_only")
def test_a_second_sweep_in_a_folder_is_refused(uddm, config, tmp_path):
    out = tmp_path / "sweep"
    with hold_lock(out / "sweep.lock", "mine"):
        refused(uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "2,4"), str(out), "Another sweep")
    assert uddm("sweep", "-c", config, "--out", out, *FAKE, "--sizes", "2,4").status == 0


def test_a_second_fit_in_a_run_folder_is_refused(uddm, config, tmp_path):
    run = tmp_path / "run"
    with hold_lock(run / "run.lock", "mine"):
        refused(uddm("fit", "-c", config, "--out", run), str(run), "Another process is training")


def test_help_is_readable(uddm):
    for command in ("sweep", "report"):
        outcome = uddm(command, "--help")
        assert outcome.status == 0
        assert f"usage: uddm {command}" in outcome.out
    assert "--sizes" in uddm("sweep", "--help").out
    assert "uddm sweep -c CONFIG" in uddm("--help").out


@pytest.mark.usefixtures("_tables_only")
def test_a_launcher_of_another_package_works(uddm, config, tmp_path):
    assert uddm("sweep", "-c", config, "--out", tmp_path / "sweep", *FAKE, "--sizes", "2,4").status == 0
    assert "tests.support.fake_launcher" in sys.modules
