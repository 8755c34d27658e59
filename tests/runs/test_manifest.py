"""Manifest of a run: what is recorded once, what is added, and what is never overwritten."""

import json
from pathlib import Path

import pytest

from uddm_lightning.runs import manifest

DATA = {"corpus": "c", "tokenizer": "t", "subset": "s"}


def test_a_missing_or_damaged_manifest_is_empty(tmp_path: Path) -> None:
    assert manifest.read_manifest(tmp_path) == {}
    for text in ("{", "[1]", ""):
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
        assert manifest.read_manifest(tmp_path) == {}
    assert manifest.read_run_name(tmp_path) == tmp_path.name
    assert manifest.converted_from(tmp_path) is None
    assert manifest.trained_steps(tmp_path) == 0


def test_the_content_survives(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path, {"run": "DiT-n8-s0-01234567", **DATA, "note": "größe"})
    assert manifest.read_manifest(tmp_path) == {"run": "DiT-n8-s0-01234567", **DATA, "note": "größe"}
    assert manifest.read_run_name(tmp_path) == "DiT-n8-s0-01234567"


@pytest.mark.parametrize(
    ("inside", "is_found"), [("last.ckpt", True), ("a/b/last.ckpt", True), ("a/b/c/d/x.ckpt", False)]
)
def test_a_checkpoint_belongs_to_the_nearest_manifest_above_it(tmp_path: Path, inside: str, is_found: bool) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    assert (manifest.find_run_folder(tmp_path / inside) == tmp_path) == is_found
    assert manifest.find_run_folder(tmp_path / "a" / "b" / "c" / "checkpoints" / "x.ckpt").name == "c"


def test_a_converted_run_records_its_data_once(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path, {"converted": {"file": "duo.ckpt"}})
    assert manifest.converted_from(tmp_path) == "duo.ckpt"
    assert manifest.lacks_data(manifest.read_manifest(tmp_path))
    manifest.complete_manifest(tmp_path, DATA, "duo")
    assert manifest.read_manifest(tmp_path) == {"run": "duo", **DATA, "converted": {"file": "duo.ckpt"}}
    manifest.complete_manifest(tmp_path, {**DATA, "corpus": "another"}, "another")
    assert manifest.read_manifest(tmp_path)["corpus"] == "c"
    assert manifest.read_run_name(tmp_path) == "duo"


def test_equal_changes_are_recorded_once(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path, DATA)
    changes = [("trainer.max_steps", 6, 12)]
    for command in ("fit", "fit", "validate"):
        manifest.record_changes(tmp_path, command, 6, changes)
    manifest.record_changes(tmp_path, "fit", 6, [])
    history = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["history"]
    keys = {"trainer.max_steps": {"before": 6, "now": 12}}
    assert history == [{"command": name, "step": 6, "keys": keys} for name in ("fit", "validate")]


def test_the_end_of_training_is_marked_and_taken_back(tmp_path: Path) -> None:
    manifest.mark_trained(tmp_path, 6)
    assert not (tmp_path / "manifest.json").exists()  # there is no run here
    manifest.write_manifest(tmp_path, DATA)
    manifest.mark_trained(tmp_path, 6, "the loss did not fall")
    assert (manifest.trained_steps(tmp_path), manifest.stopped_early(tmp_path)) == (6, "the loss did not fall")
    manifest.mark_trained(tmp_path, 0)
    assert (manifest.trained_steps(tmp_path), manifest.stopped_early(tmp_path)) == (0, "")
    assert DATA.items() <= manifest.read_manifest(tmp_path).items()


def test_the_time_of_all_sessions_is_added(tmp_path: Path) -> None:
    manifest.record_time(tmp_path, "one core", 1.0)
    assert list(tmp_path.iterdir()) == [], "no run, no record"
    manifest.write_manifest(tmp_path, DATA)
    for machine, seconds in (("one core", 1.26), ("a GPU", 2.0), ("one core", 3.0)):
        manifest.record_time(tmp_path, machine, seconds)
    found = {"machines": ["one core", "a GPU"], "training_seconds": 6.3}
    assert manifest.read_manifest(tmp_path) == {**DATA, **found}
