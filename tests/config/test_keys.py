"""Resuming and measuring a run with other values of its config is refused, or recorded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import OFF, check, content, saved
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Kind
from uddm_lightning.results.tables import read_table
from uddm_lightning.runs.manifest import read_manifest, read_run_name, trained_steps
from uddm_lightning.training.task import DiffusionTask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run of 6 steps that tests may change."""
    return shutil.copytree(trained / "run", tmp_path / "copy")


@pytest.fixture
def half(uddm, config, tmp_path) -> Path:
    """A run of 3 steps, without measurements."""
    out = tmp_path / "half"
    assert uddm("fit", "-c", config, "--out", out, "--trainer.max_steps", 3, *OFF).status == 0
    return out


def said(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


# The table of keys.


@pytest.mark.parametrize("config", ["quickstart.yaml", "paper/lm1b_tiny.yaml", "sotu_words.yaml"])
def test_every_key_is_in_the_table(config):
    values = resolve(["-c", str(ROOT / "configs" / config)]).values
    assert not [key for key, _ in config_keys.flat(values) if config_keys.kind_of(key) is None]


def test_an_unknown_key_is_treated_as_a_deciding_key():
    assert config_keys.kind_of("model.invented") is None
    (change,) = config_keys.changes({"model": {"invented": 1}}, {"model": {"invented": 2}})
    assert config_keys.decisive([change], measuring=True) == [change]


def test_the_table_is_printed_in_its_docstring():
    assert config_keys.__doc__ is not None
    assert all(f"`{key}`" in config_keys.__doc__ for key in config_keys.KEYS)
    assert all(kind.value in config_keys.__doc__ for kind in Kind)


def plugin(**entries: Any) -> dict[str, Any]:
    return {"model": {"backbone": entries}}


def files(entry: Any) -> dict[str, Any]:
    return {"data": {"source": {"class_path": "HubDataset", "init_args": {"files": entry}}}}


@pytest.mark.parametrize(
    ("there", "here", "keys"),
    [
        ({"data": {"train_size": 8}}, {"data": {"train_size": 9}}, ["data.train_size"]),
        ({"model": {"backbone": "DiT"}}, plugin(class_path="a.b.DiT", init_args={}), []),
        (plugin(class_path="c.DiT"), plugin(class_path="a.DiT"), ["model.backbone.class_path"]),
        (plugin(class_path="DiT"), plugin(class_path="a.DiT", init_args={"hidden_size": 1}), []),
        ({"trainer": {"precision": None}}, {"trainer": {"precision": "32-true"}}, []),
        ({"trainer": {"precision": 16}}, {"trainer": {"precision": "bf16-true"}}, ["trainer.precision"]),
        ({"model": {"new": 1}}, {"model": {}}, []),  # saved by another version
        ({"data": "file.yaml"}, {"data": {"train_size": 8}}, []),
        (files({"a": 1}), files({"b": 1}), ["data.source.init_args.files.a", "data.source.init_args.files.b"]),
        (files(None), files({"b": 1}), ["data.source.init_args.files"]),
    ],
)
def test_changes_are_detected(there, here, keys):
    assert [change.key for change in config_keys.changes(there, here)] == keys


# Another run.

DECIDING = {
    "model.backbone.init_args.n_heads": (2, 4),
    "model.objective.init_args.t_min": (0.02, 0.05),
    "model.process.init_args.schedule.init_args.eps": (0.001, 0.01),
    "model.ema_decay": (0.9999, 0.9),
    "model.backbone_name": (None, "other"),
    "data.train_size": (8, 7),
    "data.batch_size": (8, 16),
    "seed_everything": (0, 1),
    "trainer.precision": (None, "bf16-true"),
    "trainer.gradient_clip_val": (None, 1.0),
    "trainer.accumulate_grad_batches": (1, 3),
    "model.optimizer": ("torch.optim.AdamW", "torch.optim.Adam"),
}


@pytest.mark.parametrize(
    ("command", "key"),
    [
        *(("fit", key) for key in DECIDING),
        ("validate", "model.backbone.init_args.n_heads"),
        *(pytest.param("validate", key, marks=pytest.mark.slow) for key in list(DECIDING)[1:]),
        ("test", "model.objective.init_args.t_min"),
        ("predict", "model.backbone.init_args.n_heads"),
    ],
)
def test_changed_deciding_keys_are_refused(uddm, run, command, key):
    there, here = DECIDING[key]
    before = content(run)
    options = ("--text", run / "config.yaml") if command == "predict" else ()
    given = (f"--{key}", here) if here is not None else (f"--{key}", "null")
    outcome = uddm(command, "-c", run / "config.yaml", "--ckpt_path", "last", *given, *options)
    check(outcome, f"`{key}", f"is {there!r} there and {here!r} now", "Use the run's value")
    assert content(run) == before


def test_another_loss_is_refused(uddm, run):
    options = ("--model.objective", "DenoisingCrossEntropy")
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", *options)
    check(outcome, "`model.objective.class_path`", "NELBO", "DenoisingCrossEntropy")


@pytest.mark.parametrize("command", ["validate", "sample", "export"])
def test_an_edited_config_is_detected_by_the_checkpoint(uddm, run, tmp_path, command):
    path = run / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("heads: 2", "heads: 4"), encoding="utf-8")
    before = content(run)
    words = {"validate": (), "sample": ("-n", 2, "--out", tmp_path / "x.parquet"), "export": ("--out", tmp_path / "x")}
    given = ("-c", path) if command == "validate" else (path,)
    outcome = uddm(command, *given, "--ckpt_path", "last", *words[command])
    check(outcome, "`model.backbone.init_args.n_heads` is 2 there and 4 now")
    assert content(run) == before


def test_a_checkpoint_outside_its_run_has_its_model(uddm, run, config, tmp_path):
    lone = tmp_path / "lone" / "some.ckpt"
    lone.parent.mkdir()
    shutil.copy(run / "checkpoints" / "last.ckpt", lone)
    outcome = uddm("validate", "-c", config, "--ckpt_path", lone, "--model.backbone.init_args.n_heads", 4)
    check(outcome, "`model.backbone.init_args.n_heads` is 2 there and 4 now")
    assert [path.name for path in lone.parent.iterdir()] == ["some.ckpt"]


def test_another_text_is_named_by_its_keys(uddm, run, trained):
    other = trained / "other.txt"
    other.write_text((trained / "corpus.txt").read_text(encoding="utf-8").replace("peace", "place"), encoding="utf-8")
    options = ("--data.source.init_args.paths", other)
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", *options)
    check(outcome, "manifest.json", "`data.source.init_args.paths`", str(other))
    shutil.copy(trained / "corpus.txt", other)  # the same text in another file
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", *options, *OFF)
    assert outcome.status == 0, outcome.err


# What may differ when a run is measured.


def test_another_measurement_is_recorded(uddm, run):
    before = (run / "config.yaml").read_bytes()
    options = ("--model.sampler.init_args.steps", 5, "--model.eval_dtype", "float32", "--threads", 2)
    for _ in range(2):
        outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last", *options)
        assert outcome.status == 0, outcome.err
    assert (run / "config.yaml").read_bytes() == before
    assert read_manifest(run)["history"] == [
        {
            "command": "validate",
            "step": 6,
            "keys": {
                "model.eval_dtype": {"before": "float64", "now": "float32"},
                "model.sampler.init_args.steps": {"before": 10, "now": 5},
            },
        }
    ]
    assert "5" in {row["sampler_steps"] for row in read_table(run / "measurements.csv")}


@pytest.mark.parametrize(("there", "here", "well"), [
    ("16-mixed", None, True), ("bf16-mixed", "32-true", True), ("bf16-true", None, False), ("64-true", "32", False),
])  # fmt: skip  # an option and its value stand together
def test_a_run_is_measured_in_a_precision_that_preserves_the_weights(there, here, well):
    (change,) = config_keys.changes({"trainer": {"precision": there}}, {"trainer": {"precision": here}})
    assert (config_keys.decisive([change], measuring=True) == []) is well
    assert config_keys.decisive([change], measuring=False) == [change]


# What may change on resume.


def test_another_learning_rate_takes_effect_and_is_recorded(uddm, half, tmp_path):
    before = (half / "config.yaml").read_text(encoding="utf-8")
    same = shutil.copytree(half, tmp_path / "same")
    rates = ("--model.optimizer.init_args.lr", 0.5, "--model.optimizer.init_args.weight_decay", 0.25)
    for out, options in ((half, rates), (same, ())):
        outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6, *options)
        assert outcome.status == 0, outcome.err
    group, schedule = saved(half)["optimizer_states"][0]["param_groups"][0], saved(half)["lr_schedulers"][0]
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.5, 0.5, 0.25)
    assert schedule["base_lrs"] == [0.5]
    weights = [sum(value.norm() for value in saved(out)["state_dict"].values()) for out in (half, same)]
    assert weights[0] > 1.5 * weights[1], "the larger rate shows in the weights"
    assert said(half)["model"]["optimizer"]["init_args"]["lr"] == 0.5
    assert said(half)["ckpt_path"] is None
    assert (half / "config-3.yaml").read_text(encoding="utf-8") == before
    (entry,) = read_manifest(half)["history"]
    assert entry["keys"]["model.optimizer.init_args.lr"] == {"before": 0.01, "now": 0.5}
    # resumed again without a message: the rate is saved
    for steps in (9, 12):
        outcome = uddm("fit", "-c", half / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", steps)
        assert outcome.status == 0, outcome.err
    assert saved(half)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5
    assert sorted(path.name for path in half.glob("config*")) == [
        *("config-3.yaml", "config-6.yaml", "config-9.yaml", "config.yaml")
    ]
    outcome = uddm("validate", "-c", half / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err


def test_no_file_is_rewritten_without_a_change(uddm, half):
    before = content(half)
    outcome = uddm("fit", "-c", half / "config.yaml", "--ckpt_path", "last", "--trainer.enable_progress_bar", "true")
    assert outcome.status == 0, outcome.err
    after = content(half)
    assert {path.name for path in after if after[path] != before.get(path)} <= {
        path.name for path in after if "tfevents" in path.name
    }


def test_more_steps_are_saved_and_the_run_is_not_finished(uddm, half, monkeypatch):
    assert trained_steps(half) == 3
    train = DiffusionTask.training_step

    def stop(self: DiffusionTask, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 4:
            raise KeyboardInterrupt
        return train(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTask, "training_step", stop)
        uddm("fit", "-c", half / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6)
    assert trained_steps(half) == 0
    assert said(half)["trainer"]["max_steps"] == 6
    assert uddm("fit", "-c", half / "config.yaml", "--ckpt_path", "last").status == 0
    assert trained_steps(half) == saved(half)["global_step"] == 6


def test_fewer_steps_than_trained_are_refused(uddm, run):
    outcome = uddm("fit", "-c", run / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 3)
    check(outcome, "`trainer.max_steps` is 3", "has trained 6 steps already", "--out")


def test_a_linear_decay_with_a_later_end_equals_that_of_a_longer_run(uddm, config, tmp_path):
    line = ("--model.lr_schedule", "WarmupLinear", *OFF)
    for name, steps in (("once", 6), ("twice", 3)):
        assert uddm("fit", "-c", config, "--out", tmp_path / name, *line, "--trainer.max_steps", steps).status == 0
    outcome = uddm("fit", "-c", tmp_path / "twice" / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6)
    assert outcome.status == 0, outcome.err
    once, twice = saved(tmp_path / "once"), saved(tmp_path / "twice")
    assert once["lr_schedulers"] == twice["lr_schedulers"]
    assert once["optimizer_states"][0]["param_groups"] == twice["optimizer_states"][0]["param_groups"]


def test_a_config_of_the_user_is_not_changed_on_resume(uddm, config, tmp_path):
    own = tmp_path / "own" / "config.yaml"
    own.parent.mkdir()
    own.write_text("# my notes\n" + config.read_text(encoding="utf-8").replace("max_steps: 6", "max_steps: 3"))
    assert uddm("fit", "-c", own, "--out", own.parent, *OFF).status == 0
    outcome = uddm("fit", "-c", own, "--ckpt_path", "last", "--trainer.max_steps", 6, *OFF)
    check(outcome, "was not written by this program", "`trainer.max_steps` is 3 there and 6 now")
    own.write_text(own.read_text(encoding="utf-8").replace("max_steps: 3", "max_steps: 6"))
    assert uddm("fit", "-c", own, "--ckpt_path", "last", *OFF).status == 0
    assert own.read_text(encoding="utf-8").startswith("# my notes")


# A run that begins with the weights of another.


def test_a_run_starts_from_another_run_in_an_unused_folder_only(uddm, half, run, config, tmp_path):
    last = half / "checkpoints" / "last.ckpt"
    before = content(run)
    check(uddm("fit", "-c", config, "--out", run, "--ckpt_path", last), "already holds a run", str(run))
    assert content(run) == before
    new = tmp_path / "new"
    assert uddm("fit", "-c", config, "--out", new, "--ckpt_path", last).status == 0
    assert (new / "config.yaml").exists()
    assert trained_steps(new) == 6
    check(
        uddm("fit", "-c", config, "--out", tmp_path / "third", "--ckpt_path", last, "--data.train_size", 7),
        "data.train_size",
    )
    assert not (tmp_path / "third" / "config.yaml").exists()


# The name of a run.


def test_a_run_is_named_by_backbone_size_and_seed(trained, uddm, config, tmp_path):
    names = {row["run"] for row in read_table(trained / "run" / "measurements.csv")}
    assert names == {read_manifest(trained / "run")["run"]} == {read_run_name(trained / "run")}
    (name,) = names
    head, _, digits = name.rpartition("-")
    assert head == "DiT-n8-s0"
    assert len(digits) == 8
    assert int(digits, 16) >= 0


def test_names_differ_by_deciding_keys_only():
    config = {"model": {"optimizer": {"init_args": {"lr": 1}}}, "trainer": {"devices": 1, "max_steps": 3}, "out": "a"}
    first = config_keys.digest(config)
    assert config_keys.digest({**config, "out": "b", "threads": 3}) == first
    assert config_keys.digest({**config, "trainer": {"devices": 8, "max_steps": 3, "precision": "32-true"}}) == (
        config_keys.digest({**config, "trainer": {"max_steps": 3, "precision": None}})
    )
    assert config_keys.digest({**config, "data": {"canaries": None}}) == first
    others = [
        {**config, "data": {"canaries": [1]}},
        {**config, "trainer": {"max_steps": 4}},
        {**config, "model": {"optimizer": {"init_args": {"lr": 2}}}},
        {**config, "corpus": "abc"},
    ]
    assert len({first, *map(config_keys.digest, others)}) == 5


def test_a_copy_and_an_old_table_keep_one_set_of_rows(uddm, run):
    before = (run / "measurements.csv").read_bytes()
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == before
    # as written by an earlier version: rows under the folder's name, no name in the manifest
    name = read_run_name(run)
    (run / "measurements.csv").write_bytes(before.replace(name.encode(), b"oldname"))
    manifest = read_manifest(run)
    del manifest["run"]
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == before
    assert read_manifest(run)["run"] == name


def test_copies_in_one_folder_count_once_or_are_refused(uddm, run, tmp_path):
    folder = tmp_path / "runs"
    for name in ("one", "two"):
        shutil.copytree(run, folder / name)
    outcome = uddm("report", folder, "--page-only")
    assert outcome.status == 0, outcome.err
    assert read_table(folder / "measurements.csv") == read_table(run / "measurements.csv")
    table = folder / "two" / "measurements.csv"
    table.write_text("\n".join(table.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    check(uddm("report", folder), str(folder / "one"), str(folder / "two"), "copies of one run")
