"""Every callback of Lightning's documentation works, or is refused by name before training."""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, callbacks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.command_line import Outcome, table
from uddm_lightning.callbacks.tensorboard import names_of_scalars
from uddm_lightning.runs.manifest import stopped_early, trained_steps
from uddm_lightning.sweeps.sweep_run import SweepRun

FEW = ("--entropy.enabled=false", "--basin.enabled=false", "--samples.enabled=false", "--trajectory.enabled=false")
EVENTS: list[str] = []  # calls that the callbacks of this file received


def happened(*_: object) -> None:
    EVENTS.append("happened")


def rows_of(batch: object) -> int:
    return len(batch.rows_B)


class FrozenEmbedding(callbacks.BaseFinetuning):
    def freeze_before_training(self, pl_module: LightningModule) -> None:
        self.freeze(pl_module.backbone.vocab_embed)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: object) -> None:
        pass


class Writer(callbacks.BasePredictionWriter):
    def write_on_batch_end(self, *_: object) -> None:
        EVENTS.append("written")


class Watch(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        EVENTS.append(f"step {trainer.global_step}")


def scalars(out: Path) -> list[str]:
    events = EventAccumulator(str(out))
    events.Reload()
    return events.Tags()["scalars"]


def check_frozen(out: Path, outcome: Outcome) -> None:
    last = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    frozen = "backbone.vocab_embed.embedding"
    assert torch.equal(last["state_dict"][frozen], last["state_dict"][f"ema.{frozen}"])
    assert not torch.equal(
        last["state_dict"]["backbone.output_layer.linear.weight"],
        last["state_dict"]["ema.backbone.output_layer.linear.weight"],
    )


def check_best(out: Path, outcome: Outcome) -> None:
    assert list(out.rglob("best*.ckpt"))
    assert (out / "checkpoints" / "last.ckpt").exists()


def check_stopped(reason: str) -> Callable[[Path, Outcome], None]:
    def check(out: Path, outcome: Outcome) -> None:
        step = trained_steps(out)
        assert 0 < step < 6
        assert stopped_early(out).startswith(reason)
        assert f"uddm: stopped early at step {step}: {reason}" in outcome.err
        assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
        assert any(int(row["step"]) == step for row in table(out)), "the last step is measured"

    return check


def check_bar(out: Path, outcome: Outcome) -> None:
    assert outcome.out.count("recovery: train") == 2


class Case(NamedTuple):
    """Options of a callback, and the expected result: an error message, or a run that passes the check."""

    kind: str = ""
    options: tuple[str, ...] = ()
    refused: str = ""
    check: Callable[[Path, Outcome], None] = lambda out, outcome: None
    status: int = 0


def has(name: str) -> Callable[[Path, Outcome], None]:
    def check(out: Path, outcome: Outcome) -> None:
        assert any(tag.startswith(name) for tag in scalars(out)), scalars(out)

    return check


def says(text: str) -> Callable[[Path, Outcome], None]:
    def check(out: Path, outcome: Outcome) -> None:
        assert text in outcome.out + outcome.err

    return check


def recorded(event: str) -> Callable[[Path, Outcome], None]:
    def check(out: Path, outcome: Outcome) -> None:
        assert event in EVENTS

    return check


MINE = __name__
EPOCHS = "the stream of training rows has none"
BAR = "--trainer.enable_progress_bar=true"
CASES: dict[str, Case] = {
    "BackboneFinetuning": Case(refused=EPOCHS),
    "BaseFinetuning": Case(refused="base class"),
    "BasePredictionWriter": Case(refused="base class"),
    "BatchSizeFinder": Case(refused="data.batch_size"),
    "Callback": Case(),
    "Checkpoint": Case(),
    "DeviceStatsMonitor": Case(),  # see its own test
    "EarlyStopping": Case(
        options=("monitor=nelbo/test/[0.02,1]", "stopping_threshold=1e9"), check=check_stopped("EarlyStopping: ")
    ),
    "EMAWeightAveraging": Case(refused="model.ema_decay"),
    "GradientAccumulationScheduler": Case(
        options=("scheduling={0: 1, 4: 2}",), refused="trainer.accumulate_grad_batches"
    ),
    "LambdaCallback": Case(options=(f"on_train_start={MINE}.happened",), check=recorded("happened")),
    "LearningRateFinder": Case(refused="model.optimizer.init_args.lr"),
    "LearningRateMonitor": Case(check=has("lr-AdamW")),
    "ModelCheckpoint": Case(options=("monitor=recovery/train/t=0.1", "filename=best"), check=check_best),
    "ModelPruning": Case(options=("pruning_fn=l1_unstructured",), refused="exported weights"),
    "ModelSummary": Case(options=("max_depth=2",), check=says("recovery: train")),
    "OnExceptionCheckpoint": Case(options=("dirpath=.",), refused="last checkpoint stands"),
    "ProgressBar": Case(options=(BAR,), refused="base class"),
    "RichModelSummary": Case(),  # see its own test
    "RichProgressBar": Case(),  # see its own test
    "SpikeDetection": Case(
        options=("warmup=1", "mode=max", "atol=0", "rtol=0"), status=1, check=says("stopped: SpikeDetection: ")
    ),
    "StochasticWeightAveraging": Case(options=("swa_lrs=0.1",), refused="model.ema_decay"),
    "ThroughputMonitor": Case(options=(f"batch_size_fn={MINE}.rows_of", "window_size=3"), check=has("train/device/")),
    "Timer": Case(options=("duration={milliseconds: 1}",), check=check_stopped("Timer: ")),
    "TQDMProgressBar": Case(options=(BAR,), check=check_bar),
    "WeightAveraging": Case(refused="model.ema_decay"),
    # and subclasses of base classes
    "a subclass of BaseFinetuning": Case(kind=f"{MINE}.FrozenEmbedding", check=check_frozen),
    "a callback of one's own": Case(kind=f"{MINE}.Watch", check=recorded("step 6")),
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    EVENTS.clear()
    monkeypatch.setitem(sys.modules, MINE, sys.modules[__name__])


def test_the_table_has_every_callback_of_the_installed_lightning() -> None:
    there = {name for name in callbacks.__all__ if inspect.isclass(getattr(callbacks, name))}
    assert there == {name for name in CASES if name.isidentifier()}


def words(case: Case, name: str) -> list[str]:
    given = [f"--trainer.callbacks+={case.kind or name}"]
    return given + [word if word.startswith("--") else f"--trainer.callbacks.{word}" for word in case.options]


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
@pytest.mark.parametrize(
    "name",
    [
        name if case.refused or name in ("Timer", "TQDMProgressBar") else pytest.param(name, marks=pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_a_callback_works_or_is_refused_by_name(uddm, config: Path, tmp_path: Path, name: str) -> None:
    if name in ("DeviceStatsMonitor", "RichModelSummary", "RichProgressBar"):
        pytest.skip("needs another package")
    case, out = CASES[name], tmp_path / "run"
    outcome = uddm("fit", "-c", config, "--out", out, *FEW, *words(case, name))
    if case.refused:
        assert outcome.status == 2, outcome.err
        message = outcome.err[outcome.err.index("uddm: error: ") :]
        assert name in message
        assert case.refused in message
        assert len(message.strip().splitlines()) == 1
        assert not (out / "measurements.csv").exists()
        assert not (out / "config.yaml").exists(), "before anything was written"
    else:
        assert outcome.status == case.status, outcome.err
        case.check(out, outcome)


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
@pytest.mark.parametrize(
    ("name", "package"), [("DeviceStatsMonitor", "psutil"), ("RichModelSummary", "rich"), ("RichProgressBar", "rich")]
)
def test_a_callback_that_needs_a_package_works_with_it(uddm, config, tmp_path, name, package) -> None:
    pytest.importorskip(package)
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *FEW, BAR, f"--trainer.callbacks+={name}")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("recovery: train") == 2


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("RichProgressBar", "lightning.pytorch.callbacks.progress.rich_progress._RICH_AVAILABLE"),
        ("RichModelSummary", "lightning.pytorch.callbacks.rich_model_summary._RICH_AVAILABLE"),
        ("DeviceStatsMonitor", "lightning.pytorch.accelerators.cpu._PSUTIL_AVAILABLE"),
    ],
)
def test_a_missing_package_of_a_callback_is_reported_at_the_start(uddm, config, monkeypatch, name, check) -> None:
    monkeypatch.setattr(check, False)
    monkeypatch.setattr("lightning.pytorch.callbacks.device_stats_monitor._PSUTIL_AVAILABLE", False)
    outcome = uddm("fit", "-c", config, BAR, f"--trainer.callbacks+={name}")
    assert outcome.status == 2
    assert "install" in outcome.err[outcome.err.index("uddm: error: ") :]
    assert not list(Path("runs").glob("**/measurements.csv"))


@pytest.mark.parametrize("name", ["EarlyStopping", "ModelCheckpoint"])
def test_an_unknown_value_to_monitor_is_refused_at_the_start(uddm, config, tmp_path, name) -> None:
    given = (f"--trainer.callbacks+={name}", "--trainer.callbacks.monitor=recovery/test/t=0.2")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *given)
    assert outcome.status == 2
    message = outcome.err[outcome.err.index("uddm: error: ") :]
    assert f"{name} watches `recovery/test/t=0.2`" in message
    assert "`recovery/test/t=0.1`" in message
    assert not (tmp_path / "run" / "measurements.csv").exists()
    given = (f"--trainer.callbacks+={name}", "--trainer.callbacks.monitor=critical_t/train")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *given)
    assert "watches `critical_t/train`, which is not measured at every validation" in outcome.err


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_a_value_that_was_not_logged_is_reported_at_the_first_validation(uddm, config) -> None:
    given = (f"--trainer.callbacks+={MINE}.Watch", "--trainer.callbacks+=EarlyStopping")
    outcome = uddm("fit", "-c", config, *FEW, *given, "--trainer.callbacks.monitor=theirs")
    assert outcome.status == 2
    assert "`theirs`" in outcome.err[outcome.err.index("uddm: error: ") :]


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_every_value_that_can_be_monitored_is_logged_at_the_first_validation(
    uddm, config, tmp_path, monkeypatch
) -> None:
    names: list[set[str]] = []

    def keep(trainer: Trainer, task: LightningModule, splits: tuple[str, ...]) -> None:
        names.append(names_of_scalars(trainer, task, splits))

    monkeypatch.setattr("uddm_lightning.cli.lightning.check_monitors", keep)
    more = (
        "--basin.num_rows_during_training=4",
        "--samples.num_rows_during_training=4",
        "--trajectory.num_rows_during_training=4",
    )
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *more, "--entropy.weights=[ema,raw]")
    assert outcome.status == 0, outcome.err
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    first = {tag for tag in events.Tags()["scalars"] if any(event.step == 3 for event in events.Scalars(tag))}
    assert names[0] == {tag.removeprefix("zz_") for tag in first} - {"loss/train", "epoch"}


def test_two_progress_bars_are_refused(uddm, config) -> None:
    given = ["--trainer.callbacks+=TQDMProgressBar"] * 2
    outcome = uddm("fit", "-c", config, BAR, *given)
    assert outcome.status == 2
    assert "several progress bars, TQDMProgressBar and TQDMProgressBar" in outcome.err


def test_a_disabled_progress_bar_is_refused(uddm, config) -> None:
    outcome = uddm("fit", "-c", config, "--trainer.callbacks+=TQDMProgressBar")
    assert outcome.status == 2
    assert "`trainer.enable_progress_bar` is false and `trainer.callbacks` has TQDMProgressBar" in outcome.err


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_a_run_of_a_sweep_shows_no_progress_bar(uddm, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UDDM_HEARTBEAT", str(tmp_path / "beat"))
    monkeypatch.setenv("UDDM_PARENT", str(os.getppid()))
    outcome = uddm("fit", "-c", config, *FEW, BAR, "--trainer.callbacks+=TQDMProgressBar")
    assert outcome.status == 0, outcome.err
    assert "it/s" not in outcome.out + outcome.err


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_a_nelbo_on_a_wider_range_than_the_trained_one_can_be_monitored(uddm, config) -> None:
    monitor = "--trainer.callbacks.monitor=nelbo_extrapolated/test/[0.001,1]"
    outcome = uddm("fit", "-c", config, *FEW, "--nelbo.t_min", 0.001, "--trainer.callbacks+=EarlyStopping", monitor)
    assert outcome.status == 0, outcome.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_a_run_that_stopped_early_is_fully_measured_and_is_not_continued(uddm, config, tmp_path) -> None:
    out = tmp_path / "run"
    given = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=nelbo/test/[0.02,1]")
    outcome = uddm("fit", "-c", config, "--out", out, *given, "--trainer.callbacks.stopping_threshold=1e9")
    assert outcome.status == 0, outcome.err
    before = table(out)
    assert {row["step"] for row in before} == {"3"}
    assert {row["metric"] for row in before} >= {"basin", "samples", "trajectory"}, "as at the end of a run"
    outcome = uddm("fit", "-c", out / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert "stopped early at step 3" in outcome.err
    assert table(out) == before
    assert trained_steps(out) == 3
    outcome = uddm("validate", "-c", out / "config.yaml", "--ckpt_path", "last")
    assert outcome.status == 0, outcome.err
    assert table(out) == before
    cell = SweepRun("DiT", 8, 0, tmp_path / "sweep", (), steps=6)
    cell.folder.parent.mkdir(parents=True)
    out.rename(cell.folder)
    assert cell.finished()
    assert cell.progress() == 1.0


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of its own arguments
def test_a_custom_prediction_writer_is_called(uddm, trained, tmp_path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("of the people we\n", encoding="utf-8")
    config = ("-c", trained / "run" / "config.yaml", "--ckpt_path", trained / "run" / "checkpoints" / "last.ckpt")
    given = (f"--trainer.callbacks+={MINE}.Writer", "--trainer.callbacks.write_interval=batch")
    outcome = uddm("predict", *config, "--text", text, "--out", tmp_path / "restored", *given)
    assert outcome.status == 0, outcome.err
    assert EVENTS == ["written"]
    given = ("--trainer.callbacks+=BasePredictionWriter",)
    outcome = uddm("predict", *config, "--text", text, "--out", tmp_path / "restored", *given)
    assert outcome.status == 2
    assert "base class" in outcome.err
