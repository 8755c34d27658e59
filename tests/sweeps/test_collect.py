"""Facts about the runs of a folder, for the end of the report."""

from pathlib import Path

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.manifest import write_manifest
from uddm_lightning.sweeps.collect import COMMAND, collect, training_facts

DATA = {"source": {"class_path": "a.SotuSpeeches"}, "vocab_size": 27, "corpus": "c", "versions": {"torch": "2"}}


def _run(folder: Path, name: str, **more: object) -> None:
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "measurements.csv").touch()
    write_manifest(run, {**DATA, **more})


def test_machines_and_duration_are_those_of_the_manifests(tmp_path: Path) -> None:
    _run(tmp_path, "a", machines=["one core"], training_seconds=60.0)
    _run(tmp_path, "b", machines=["one core", "a GPU"], training_seconds=61.0)
    _run(tmp_path, "old")
    (tmp_path / COMMAND).write_text("uddm sweep -c quickstart --out d\n", encoding="utf-8")
    facts = training_facts(tmp_path)
    assert facts["machine"] == "one core, a GPU"
    assert facts["duration"] == "3 min, the sum over 2 of 3 runs, with measuring"
    assert facts["command"] == "uddm sweep -c quickstart --out d"


def test_manifests_of_earlier_versions_have_no_machine(tmp_path: Path) -> None:
    _run(tmp_path, "old")
    facts = training_facts(tmp_path)
    assert not {"machine", "duration", "command"} & set(facts)
    assert facts["text"] == "SotuSpeeches"


def test_runs_without_measurements_are_named(tmp_path: Path) -> None:
    _run(tmp_path, "measured")
    (tmp_path / "runs" / "measured" / "config.yaml").touch()
    assert "not measured" not in training_facts(tmp_path)
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "config.yaml").touch()
    assert training_facts(tmp_path)["not measured"].startswith("begun; these runs have no measurements")


def test_a_sweep_inside_the_folder_is_no_run(tmp_path: Path) -> None:
    """Its restored rows would all be those of one run."""
    (tmp_path / "sweep").mkdir()
    sweeps.measurements(tmp_path / "sweep", (2, 8), kinds=("nelbo",))
    with pytest.raises(InputError, match=r"`.*sweep` holds 2 runs .* Give `.*sweep` itself\."):
        collect(tmp_path)
