"""Options of runs that are measured at many steps, and a sweep with them."""

import csv
import json
from pathlib import Path

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.at_steps import at_steps_options

CHEAP = {
    "--trainer.max_steps": "8",
    "--trainer.val_check_interval": "8",
    "--trainer.callbacks+": "ValidationSteps",
    "--trainer.callbacks.steps": "[2, 4, 8]",
    "--recovery.times": "[0.1]",
    "--entropy.times": "[0.1]",
    "--nelbo.num_rows_during_training": "null",
    "--basin.enabled": "false",
    "--data.num_random_rows": "0",
}


def options(config: Path, text: str, keep: bool = False, *given: str) -> dict[str, str]:
    words = at_steps_options(text, keep, ["-c", str(config)], list(given))
    return dict(zip(words[::2], words[1::2], strict=True))


def test_only_what_a_diagram_over_steps_needs_is_measured(config: Path) -> None:
    found = options(config, "2:8:x2")
    assert CHEAP.items() <= found.items()
    assert options(config, "8,2,4") == found


def test_the_interval_counts_micro_batches(config: Path) -> None:
    given = ("--trainer.accumulate_grad_batches", "2")
    assert options(config, "2:8:x2", False, *given)["--trainer.val_check_interval"] == "16"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("125:4000", r"`--at-steps 125:4000`: '125:4000' is no range; give a list such as 500,1000,2000"),
        ("0.5,1.0", r"`--at-steps 0.5,1.0`: 0.5 is no number of steps"),
        ("0", r"`--at-steps 0`: 0 is no number of steps"),
        ("many", r"`--at-steps many`: 'many' is no number"),
        ("8:2:x2", r"`--at-steps 8:2:x2`: '8:2:x2' must rise"),
    ],
)
def test_other_texts_are_refused(config: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(config, text)


@pytest.mark.parametrize("option", ["--trainer.max_steps", "--trainer.val_check_interval"])
def test_the_number_of_steps_is_given_once(config: Path, option: str) -> None:
    with pytest.raises(InputError, match=f"`{option} 3` is set by `--at-steps 2,4`; give one of the two"):
        options(config, "2,4", False, option, "3")


@pytest.mark.slow
def test_one_training_gives_all_steps_and_the_page_shows_them(uddm, config: Path) -> None:
    words = ("--sizes", "2,8", "--at-steps", "1:4:x2", "--keep-checkpoints", "--data.num_test_rows", 128)
    outcome = uddm("sweep", "-c", config, "--out", "sweep", *words, "--data.num_train_rows", 128, "--page-only")
    assert outcome.status == 0, outcome.err
    with Path("sweep/measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["step"] for row in rows} == {"1", "2", "4"}
    assert {row["metric"] for row in rows} == {"recovery", "entropy", "nelbo"}
    nelbo = [row for row in rows if row["metric"] == "nelbo" and row["train_size"] == "2"]
    assert {row["step"]: float(row["epochs"]) for row in nelbo} == {"1": 4.0, "2": 8.0, "4": 16.0}
    assert all(float(row["weight_norm"]) > 0 for row in nelbo)
    kept = {path.name for path in Path("sweep/runs/DiT-n2-s0/checkpoints").iterdir()}
    assert {"step1.ckpt", "step2.ckpt", "step4.ckpt"} <= kept
    over = json.loads(Path("sweep/transition.json").read_text(encoding="utf-8"))["backbones"]["DiT"]["over_steps"]
    assert over["steps"] == [1, 2, 4]
    page = Path("sweep/report.html").read_text(encoding="utf-8")
    assert "Regimes over training steps and training rows" in page
    assert "--at-steps 1:4:x2 --keep-checkpoints" in Path("sweep/command.txt").read_text(encoding="utf-8")
    again = uddm("sweep", "-c", config, "--out", "sweep", *words, "--data.num_train_rows", 128, "--page-only")
    assert "2 of 2 runs are finished already" in again.err


def test_checkpoints_are_kept_at_given_steps_only(uddm, config: Path) -> None:
    outcome = uddm("sweep", "-c", config, "--out", "sweep", "--keep-checkpoints")
    assert outcome.status == 2
    assert "`--keep-checkpoints` needs `--at-steps`" in outcome.err
