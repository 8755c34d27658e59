"""Output of every command to a terminal, to a file and to a closed pipe, with and without progress bars."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import tiny_config, write_corpus
from tests.support.ranks import Job, run

TABLE = "recovery: train"
FEW = ("--entropy.enabled=false", "--basin.enabled=false", "--samples.enabled=false", "--trajectory.enabled=false")


class Printed(dict[tuple[str, str, str], tuple[int, str]]):
    """Exit status and stdout by command, kind of stdout, and bar."""


def lines(text: str) -> list[str]:
    """Return the visible lines of a terminal: control characters move the cursor, and bars overwrite lines."""
    return [
        line.strip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", text)) if line.strip()
    ]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("printing")
    settings = tiny_config(write_corpus(folder / "corpus.txt"))
    settings["trainer"] |= {"max_steps": 3, "val_check_interval": 3}
    del settings["trainer"]["enable_progress_bar"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "lines.txt").write_text("the people of peace — €\n", encoding="utf-8")
    return folder


def jobs_of(text: Path, trained: Path, kind: str, bar: str) -> dict[str, Job]:
    """Return one job per command, each with its own folders."""
    here = text / f"{kind}-{bar}"
    given = ["-c", str(trained / "run" / "config.yaml"), "--ckpt_path"]
    last = str(trained / "run" / "checkpoints" / "last.ckpt")
    few = [*FEW, f"--trainer.enable_progress_bar={bar}"]
    copy = str(shutil.copytree(trained / "run", here / "copy"))
    measured = ["-c", f"{copy}/config.yaml", "--ckpt_path", "last"]
    fresh = ["-c", str(text / "tiny.yaml")]
    commands = {
        "fit": ["fit", *fresh, "--out", str(here / "fit"), *few],
        "validate": ["validate", *measured, *few],
    }
    if bar == "true":  # `test` and `predict` take the same way as `validate`, the others have no such option
        restored = ["--text", str(text / "lines.txt"), "--out", str(here / "p")]
        commands |= {
            "test": ["test", *measured, *few],
            "predict": ["predict", *given, last, *restored, *few[-1:]],
            "sweep": ["sweep", *fresh, "--out", str(here / "sweep"), "--sizes", "8", "--page-only", *FEW],
            "sample": ["sample", str(trained / "run"), "-n", "4", "--out", str(here / "samples.parquet")],
            "probe": ["probe", str(trained / "run"), "-n", "4", "--times", "0.5"],
            "export": ["export", str(trained / "run"), "--out", str(here / "exported")],
            "preflight": ["preflight", *fresh],
            "doctor": ["doctor"],
        }
    return {name: Job(f"{name}-{kind}-{bar}", words, stdout=kind) for name, words in commands.items()}


SAYS = {
    "fit": TABLE,
    "validate": TABLE,
    "test": TABLE,
    "predict": "restored",
    "sweep": "report.html",
    "report": "report.html",
    "sample": "samples.parquet",
    "probe": "entropy",
    "export": "model.safetensors",
    "preflight": "parameters",
    "doctor": "checks",
}


@pytest.fixture(scope="module")
def printed(text: Path, trained: Path) -> Printed:
    found = Printed()
    jobs = {
        (name, kind, bar): job
        for kind in ("file", "terminal")
        for bar in ("true", "false")
        for name, job in jobs_of(text, trained, kind, bar).items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UDDM_CACHE", str(trained / "cache"))
        run(text / "logs", list(jobs.values()), well=False)
        reports = {
            ("report", kind, "true"): Job(
                f"report-{kind}", ["report", str(text / f"{kind}-true" / "sweep"), "--page-only"], stdout=kind
            )
            for kind in ("file", "terminal")
        }
        run(text / "logs", list(reports.values()), well=False)
    for key, job in (jobs | reports).items():
        found[key] = (job.status[0], job.out[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("bar", ["true", "false"])
@pytest.mark.parametrize("kind", ["file", "terminal"])
@pytest.mark.parametrize("name", SAYS)
def test_every_command_prints_its_results_once(printed: Printed, name: str, kind: str, bar: str) -> None:
    if (name, kind, bar) not in printed:
        pytest.skip("is not run with this option")
    status, out = printed[name, kind, bar]
    assert status == 0, out[-2000:]
    said = [line for line in lines(out) if SAYS[name] in line]
    assert said, out
    if SAYS[name] == TABLE:
        assert len(said) == 1
        (head,) = said
        assert head.startswith("t  recovery: train    test  chance"), "on a line of its own"
        after = lines(out)[lines(out).index(head) + 1 :]
        assert after[0].startswith("0.1 "), "nothing comes between"
    if kind == "file":
        assert "\r" not in out, "bars are not for files"
        assert "it/s" not in out
        assert "Seed set" not in out


@pytest.mark.slow
def test_a_converted_checkpoint(uddm, tmp_path, trained) -> None:
    outcome = uddm("convert", trained / "run" / "checkpoints" / "last.ckpt", "--out", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.out == ""


def test_tables_are_printed_above_the_bar(uddm, trained, tmp_path) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    for command in ("validate", "test"):
        for bar in ("true", "false"):
            given = ("-c", run / "config.yaml", "--ckpt_path", "last", f"--trainer.enable_progress_bar={bar}")
            outcome = uddm(command, *given, *FEW)
            assert outcome.status == 0, outcome.err
            assert outcome.out.count(TABLE) == 1
            assert outcome.out.startswith("step 6, 8 training rows"), "nothing else is on stdout"
            assert not {"\r", "\x1b"} & set(outcome.err), "bars are for terminals"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "ascii", "none"])
def test_printing_never_ends_a_run(text: Path, trained: Path, tmp_path: Path, monkeypatch, kind: str) -> None:
    """Test `| head -1`, a terminal that lacks characters, and a closed stream."""
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    all_of_them = jobs_of(text, trained, kind, "true")
    jobs = [all_of_them[name] for name in ("fit", "validate", "predict", "preflight", "probe")]
    run(tmp_path / "logs", jobs)  # each with exit status 0
    out = text / f"{kind}-true"
    assert (out / "fit" / "checkpoints" / "last.ckpt").exists()
    assert json.loads((out / "fit" / "manifest.json").read_text(encoding="utf-8"))["trained_steps"] == 3
    if kind == "head":
        assert all(len(job.out[0].splitlines()) >= 1 for job in jobs)
