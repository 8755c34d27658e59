"""For all trainer options the batch of a step depends on the step only, or training is refused. A run ends measured and
saved in its own folder.
"""

import inspect
import shutil
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from tests.support.command_line import OFF, check, content, saved
from uddm_lightning.cli.trainer_options import check_end
from uddm_lightning.config.ranges import ONLY, check_numbers, fill_interval
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.manifest import stopped_early, trained_steps

REFUSED: dict[str, tuple[Any, ...]] = {
    "max_epochs": (1, 5, 1000),
    "min_epochs": (1, 3),
    "limit_train_batches": (0, 1, 5, 0.0, 0.5),
    "limit_val_batches": (0, 1, 5, 0.0, 0.5),
    "limit_test_batches": (0, 1, 5, 0.0, 0.5),
    "limit_predict_batches": (0, 1, 5, 0.0, 0.5),
    "overfit_batches": (1, 5, 0.5),
    "check_val_every_n_epoch": (1, 2),
    "val_check_interval": (0.5, 1.0, "00:00:01:00"),
    "reload_dataloaders_every_n_epochs": (1, 2),
    "enable_checkpointing": (False,),
    "barebones": (True,),
}
# Options that do not change a run, with values to try.
ALIKE: dict[str, tuple[Any, ...]] = {
    "max_epochs": ("null",),
    "limit_train_batches": (1.0,),
    "min_steps": (2, 9),
    "max_time": ("00:01:00:00",),
    "num_sanity_val_steps": (2, -1),
    "log_every_n_steps": (0, 2),
    "enable_progress_bar": ("false",),
    "enable_model_summary": ("false",),
    "deterministic": ("true",),
    "benchmark": ("true",),
    "inference_mode": ("false",),
    "use_distributed_sampler": ("true",),
    "profiler": ("simple",),
    "detect_anomaly": ("true",),
    "sync_batchnorm": ("true",),
    "enable_autolog_hparams": ("false",),
    "model_registry": ("somewhere",),
    "enable_checkpointing": ("true",),
    "val_check_interval": (2, 6),
    "logger": ("false", "CSVLogger"),
}
# Options with tests elsewhere.
ELSEWHERE = {
    *("accelerator", "strategy", "devices", "num_nodes", "precision", "callbacks", "plugins", "fast_dev_run"),
    *("max_steps", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "default_root_dir"),
}


def test_every_option_of_the_trainer_is_tried() -> None:
    options = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    assert options == {*REFUSED, *ALIKE, *ELSEWHERE}
    assert {key.removeprefix("trainer.") for key in ONLY} <= REFUSED.keys()
    assert all(len(values) == 1 for name, values in ALIKE.items() if name not in ALONE)


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_regroup_the_stream_are_refused(name: str) -> None:
    for value in REFUSED[name]:
        with pytest.raises(InputError, match=rf"`trainer\.{name}` (is|must be) .*"):
            check_numbers({f"trainer.{name}": value})


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "--trainer.limit_train_batches", 5),
        ("fit", "--trainer.max_epochs", 1),
        ("fit", "--trainer.barebones", "true"),
        ("fit", "--trainer.limit_val_batches", 0),
        ("validate", "--trainer.limit_val_batches", 1, "--ckpt_path", "last"),
    ],
)
def test_a_refusal_comes_before_anything_is_written(uddm, config, trained, tmp_path, words) -> None:
    out = tmp_path / "out"
    if words[0] == "validate":
        shutil.copytree(trained / "run", out)
        config = out / "config.yaml"
    before = content(out)
    check(uddm(words[0], "-c", config, "--out", out, *words[1:]), str(words[1]).removeprefix("--"))
    assert content(out) == before


# Options that change when a run is measured or logged; the others are given together, because weights that are equal
# bit for bit show that none of them has an effect.
ALONE = ("num_sanity_val_steps", "val_check_interval", "logger", "log_every_n_steps", "min_steps")
TOGETHER = {name: values[0] for name, values in ALIKE.items() if name not in ALONE}


@pytest.mark.parametrize(
    "options",
    [*({name: value} for name in ALONE for value in ALIKE[name]), TOGETHER],
    ids=lambda options: "together" if len(options) > 1 else "".join(options),
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # Lightning warns about unusual options
def test_other_options_do_not_change_training(uddm, config, trained, tmp_path, options) -> None:
    words = [word for name, value in options.items() for word in (f"--trainer.{name}", value)]
    words += ("--trainer.logger.save_dir", tmp_path / "logs") if options.get("logger") == "CSVLogger" else ()
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "out", *words, *OFF)
    assert outcome.status == 0, outcome.err
    here, there = (saved(folder)["state_dict"] for folder in (tmp_path / "out", trained / "run"))
    assert all(torch.equal(here[key], there[key]) for key in there)
    assert trained_steps(tmp_path / "out") == 6


class Regroups(Callback):
    """Make Lightning restart the stream."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 2:
            iter(trainer.fit_loop._data_fetcher)  # as at the end of an epoch


def test_a_callback_that_restarts_the_stream_ends_the_run(uddm, config, tmp_path) -> None:
    option = ("--trainer.callbacks+", f"{__name__}.Regroups")
    check(uddm("fit", "-c", config, "--out", tmp_path / "out", *option), "batch of step 0 at optimizer step 2")


# The end of a run.


def test_a_run_is_measured_at_its_end_by_default(uddm, config, tmp_path) -> None:
    for number, options in enumerate(((), ("--trainer.accumulate_grad_batches", 2))):
        out = tmp_path / f"{number}"
        outcome = uddm("fit", "-c", config, "--out", out, "--trainer.val_check_interval", "null", *options)
        assert outcome.status == 0, outcome.err
        assert saved(out)["global_step"] == trained_steps(out) == 6
        assert ",6,ema,test," in (out / "measurements.csv").read_text(encoding="utf-8")
        assert f"val_check_interval: {6 * (number + 1)}\n" in (out / "config.yaml").read_text(encoding="utf-8")


def test_a_run_without_any_measurement_is_refused() -> None:
    config = {"max_steps": -1, "accumulate_grad_batches": 1, "val_check_interval": None}
    fill_interval(config)
    with pytest.raises(InputError, match=r"`trainer\.val_check_interval` is null and `trainer\.max_steps` -1"):
        check_end({f"trainer.{name}": value for name, value in config.items()})


def test_a_run_that_stops_early_is_saved_and_finished_where_it_stopped(uddm, config, tmp_path) -> None:
    out = tmp_path / "out"
    option = ("--trainer.callbacks+", f"{__name__}.StopsAtFive")
    outcome = uddm("fit", "-c", config, "--out", out, *option, *OFF)
    assert outcome.status == 0, outcome.err
    assert saved(out)["global_step"] == 5, "Lightning validates when it stops, and with that a run is saved"
    assert trained_steps(out) == 5
    assert stopped_early(out)
    assert uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last", "--trainer.callbacks", "null").status == 0
    assert trained_steps(out) == 6
    assert not stopped_early(out)


class StopsAtFive(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 5


def test_a_last_step_that_is_not_saved_is_not_finished(uddm, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("uddm_lightning.runs.checkpoints.LastCheckpoint.on_validation_end", lambda *_: None)
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "out", *OFF)
    assert "training ended at step 6, and the last checkpoint is of step 0: start again." in outcome.err
    assert trained_steps(tmp_path / "out") == 0


@pytest.mark.slow
def test_a_sweep_without_measurements_ends_normally(uddm, config, tmp_path) -> None:
    outcome = uddm(
        "sweep", "-c", config, "--out", tmp_path / "s", "--sizes", "4", "--trainer.val_check_interval", "null", *OFF
    )
    assert outcome.status == 0, outcome.err
    assert trained_steps(tmp_path / "s" / "runs" / "DiT-n4-s0") == 6


# Checkpoints are in the run's folder.


@pytest.mark.parametrize(
    "logger",
    [
        ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"),
        ("--trainer.logger", "false"),
        pytest.param(
            (
                "--trainer.logger",
                '[{"class_path": "CSVLogger", "init_args": {"save_dir": "logs"}}, '
                '{"class_path": "TensorBoardLogger", "init_args": {"save_dir": "tb"}}]',
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_with_any_logger_is_found(uddm, config, tmp_path, logger) -> None:
    out = tmp_path / "out"
    assert uddm("fit", "-c", config, "--out", out, *logger, *OFF, "--trainer.max_steps", 3).status == 0
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["last.ckpt"]
    assert not list(tmp_path.glob("logs/**/*.ckpt"))
    check(uddm("fit", "-c", config, "--out", out, *logger), "already holds a run")
    more = ("--trainer.max_steps", 6)
    assert uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last", *more).status == 0
    assert saved(out)["global_step"] == 6
    # a resumed sweep and a moved folder use the same place
    moved = out.rename(tmp_path / "moved")
    assert uddm("validate", "-c", moved / "config.yaml", "--ckpt_path", "last").status == 0


def test_a_custom_checkpoint_callback_is_added(uddm, config_on_the_way, tmp_path) -> None:
    out = tmp_path / "out"
    own = (
        "--trainer.callbacks+",
        "ModelCheckpoint",
        "--trainer.callbacks.every_n_train_steps",
        2,
        "--trainer.callbacks.save_top_k",
        -1,
        "--trainer.callbacks.filename",
        "{step}",
    )
    outcome = uddm("fit", "-c", config_on_the_way, "--out", out, *own, *OFF)
    assert outcome.status == 0, outcome.err
    names = {path.name for path in (out / "checkpoints").iterdir()}
    assert names == {"last.ckpt", "previous.ckpt", "step=2.ckpt", "step=4.ckpt", "step=6.ckpt"}
    assert saved(out)["global_step"] == trained_steps(out) == 6
    outcome = uddm(
        "validate",
        "-c",
        out / "config.yaml",
        "--ckpt_path",
        out / "checkpoints" / "step=4.ckpt",
        "--recovery.enabled",
        "true",
    )
    assert outcome.status == 0, outcome.err
    assert ",4,ema,test," in (out / "measurements.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("save_last", "true"), ("filename", "last"), ("filename", "previous")])
def test_a_checkpoint_callback_with_the_names_of_the_run_is_refused(uddm, config, tmp_path, words) -> None:
    own = ("--trainer.callbacks+", "ModelCheckpoint", f"--trainer.callbacks.{words[0]}", words[1])
    check(uddm("fit", "-c", config, "--out", tmp_path / "out", *own), "ModelCheckpoint", "dirpath")
    assert not content(tmp_path / "out")
