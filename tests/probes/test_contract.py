"""Every probe of the package keeps the contract of `Probe`. Probes are found automatically."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from tests.support.oracle_worlds import batch_of, memory, task_of
from tests.support.plugins import plugins
from uddm_lightning.callbacks.tensorboard import scalars_of
from uddm_lightning.probes import Probe, RecoveryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.results.tables import COMMON, number, read_table
from uddm_lightning.runs.instantiate import build_data, build_task
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import DiffusionTask

PROBES = plugins(Probe)


def test_all_probes_are_found() -> None:
    kinds = {probe.kind for probe in PROBES}
    assert kinds >= {"recovery", "entropy", "nelbo", "trajectory", "basin", "samples"}
    assert len(kinds) == len(PROBES), "kinds are unique"
    metrics = [metric for probe in PROBES for metric in probe.metrics()]
    assert len(metrics) == len(set(metrics))


@pytest.mark.parametrize("probe", PROBES)
def test_every_column_has_a_unit_and_a_meaning(probe: type[Probe]) -> None:
    names = [name for column in probe.columns for name in column.names]
    assert len(names) == len(set(names)), "names are unique"
    assert not set(names) & set(COMMON)
    for column in probe.columns:
        assert column.unit, column
        assert column.meaning, column
        assert not column.meaning.endswith("."), column
        assert column.low < column.high
    assert probe.title
    of_the_probe = {*names, "t"}
    for scalar in probe.scalars:
        assert scalar.column in of_the_probe
        assert set(scalar.front) <= {"train", "test", "samples", "random"}
    for summary in probe.summary_columns:
        assert summary.column in of_the_probe
        assert summary.split in probe.splits
    if probe.time_curve:
        assert {probe.time_curve.column, *(name for name, _ in probe.time_curve.levels)} <= of_the_probe


def test_a_column_of_two_probes_is_declared_equally() -> None:
    found: dict[str, tuple[Any, ...]] = {}
    for column in (column for probe in PROBES for column in probe.columns):
        mine = (column.unit, column.low, column.high, column.interval)
        assert found.setdefault(column.name, mine) == mine, column.name


EMPTY = {  # columns that a short run of a network leaves empty, and why
    "bayes_argmax": "needs a backbone that knows the distribution of the text",
    "nelbo_falling": "needs three validations",
    **dict.fromkeys(
        ("temperature", "recovery_calibrated", "recovery_calibrated_low", "recovery_calibrated_high"),
        "needs recovery.calibrate",
    ),
    **{
        f"{name}{end}": "needs text of a known distribution"
        for name in ("memorized_bits", "excess_nelbo")
        for end in ("", "_low", "_high")
    },
}


@pytest.mark.parametrize("probe", PROBES)
def test_every_declared_column_is_filled(probe: type[Probe], trained: Path) -> None:
    rows = [row for row in read_table(trained / "run" / "measurements.csv") if row["metric"] in probe.metrics()]
    assert rows
    for name in (name for column in probe.columns for name in column.names):
        assert (name in EMPTY) or any(row[name] for row in rows), name
    for column in probe.columns:
        values = [value for row in rows if (value := number(row[column.name])) is not None]
        assert all(column.low <= value <= column.high for value in values), column.name
    for scalar in probe.scalars:
        assert scalar.skip_nan or all(number(row[scalar.column]) is not None for row in rows), scalar


def measured(probe: Probe, trained: Path) -> tuple[DiffusionTask, list[dict[str, Any]]]:
    """Records of a probe of an untrained network, measured by a trainer of Lightning."""
    config = yaml.safe_load((trained / "run" / "config.yaml").read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UDDM_CACHE", str(trained / "cache"))
        data = build_data(config)
        task = build_task(config, data.vocab_size)
        weights = {name: value.clone() for name, value in task.state_dict().items()}
        states = []
        for callbacks in ([], [probe]):  # data loaders also use the global generator
            torch.manual_seed(3)
            options = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "max_steps": 1}
            trainer = Trainer(accelerator="cpu", devices=1, callbacks=callbacks, **options)
            trainer.validate(task, data, verbose=False)
            states.append(torch.get_rng_state())
    assert torch.equal(*states), "measuring draws from no global generator"
    for name, value in task.state_dict().items():
        assert torch.equal(value, weights[name]), name
    return task, probe.records


@pytest.mark.filterwarnings("ignore")  # warnings of Lightning about workers and devices
@pytest.mark.parametrize("kind", PROBES)
def test_measuring_changes_nothing_is_repeatable_and_respects_its_limit(kind: type[Probe], trained: Path) -> None:
    probe = kind(num_rows=3, num_rows_during_training=3)
    task, records = measured(probe, trained)
    assert records
    assert all(record["n_draws"] <= 3 for record in records)
    planned = list(probe.record_keys(task))
    for record in records:
        assert any(all(record.get(name) == value for name, value in key.items()) for key in planned), record
    assert scalars_of(probe.shown_scalars, records)
    again = measured(kind(num_rows=3, num_rows_during_training=3), trained)[1]
    assert repr(list(map(fields, again))) == repr(list(map(fields, records)))


def fields(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("_")}


def test_a_filler_row_changes_no_record() -> None:
    """A rank without rows measures a filler with the number -1."""
    world = memory(3, 4)
    batch, probe = batch_of(world.draw(5)), RecoveryProbe(times=[0.5])
    filled = batch._replace(rows_B=torch.cat([batch.rows_B[:4], torch.tensor([-1])]))
    task, counted = task_of(world, AncestralSampler(steps=3)), torch.ones(5, 4).bool()
    probe.measure(MeasuredBatch(task, world.denoiser, filled, counted, "test", "ema", BatchNotes()))
    (record,) = probe.compute_records(task)
    assert record["n_draws"] == 4
