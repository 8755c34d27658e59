"""Every logger of Lightning receives the same scalars and figures; offline stand-ins take the place of online ones."""

import csv
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from lightning.pytorch.loggers import Logger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typing_extensions import override

FEW = ("--basin.enabled=false", "--samples.enabled=false", "--trajectory.enabled=false", "--entropy.enabled=false")


class OfflineLogger(Logger):
    """Keeps what Lightning's logger would send.

    Attributes:
        scalars: by step and tag.
        figures: key or path with the step.
        settings: of the run.
    """

    scalars: ClassVar[dict[int, dict[str, float]]]
    figures: ClassVar[list[Any]]
    settings: ClassVar[dict[str, Any]]

    @property
    @override
    def name(self) -> str:
        return "offline"

    @property
    @override
    def version(self) -> str:
        return "0"

    @override
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.scalars.setdefault(step, {}).update(metrics)

    @override
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.settings.update(params)


class OfflineWandb(OfflineLogger):
    scalars, figures, settings = {}, [], {}

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.figures.append((key, [image.shape for image in images], step))


class OfflineMlflow(OfflineLogger):
    scalars, figures, settings = {}, [], {}
    run_id = "7"

    @property
    def experiment(self) -> Any:
        def log_artifact(run_id: str, local_path: str, artifact_path: str | None = None) -> None:
            self.figures.append((run_id, Path(local_path).read_bytes()[:4], artifact_path))

        return SimpleNamespace(log_artifact=log_artifact)


def test_the_stand_in_has_the_method_of_lightning() -> None:
    assert list(inspect.signature(OfflineWandb.log_image).parameters) == list(
        inspect.signature(WandbLogger.log_image).parameters
    )


def test_every_logger_gets_the_same_scalars_and_figures(uddm, config, tmp_path) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    place = {"save_dir": str(tmp_path / "logs"), "version": ""}
    settings["trainer"]["logger"] = [
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {**place, "name": "csv"}},
        {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {**place, "name": "board"}},
        {"class_path": f"{__name__}.OfflineWandb"},
        {"class_path": f"{__name__}.OfflineMlflow"},
    ]
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", *FEW)
    assert outcome.status == 0, outcome.err

    events = EventAccumulator(str(tmp_path / "logs" / "board"))
    events.Reload()
    tags = set(events.Tags()["scalars"]) - {"epoch", "hp_metric"}
    assert "recovery/test/t=0.1" in tags
    assert "zz_recovery/test/t=0.5" in tags
    with (tmp_path / "logs" / "csv" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for tag in tags:
        expected = {event.step: event.value for event in events.Scalars(tag)}
        written = {int(row["step"]): float(row[tag]) for row in rows if row[tag]}
        assert written == pytest.approx(expected, rel=1e-5), tag
        for kind in (OfflineWandb, OfflineMlflow):
            sent = {step: float(values[tag]) for step, values in kind.scalars.items() if tag in values}
            assert sent == pytest.approx(expected, rel=1e-5), tag
    ((height, width, colours),) = OfflineWandb.figures[0][1]
    assert [(key, step) for key, _, step in OfflineWandb.figures] == [("recovery/ema", 3), ("recovery/ema", 6)]
    assert colours == 3
    assert np.prod((height, width)) > 10_000
    assert OfflineMlflow.figures == [("7", b"\x89PNG", "figures")] * 2
    assert OfflineWandb.settings["train_size"] == OfflineMlflow.settings["train_size"] == 8
    assert (tmp_path / "run" / "figures" / "recovery-ema.png").exists(), "where the logger takes no picture"
