"""Models whose regime is known, with the evidence from their own samples, and the table that holds them."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from uddm_lightning.audit.own_samples import TIMES, Evidence, measure_own_samples
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.runs.manifest import read_manifest
from uddm_lightning.runs.run import Run


class KnownModel(NamedTuple):
    """A model whose regime is known from recovery of train and test rows.

    Attributes:
        sweep: name of the folder of its sweep.
        run: name of the folder of its run.
        step: number of optimizer steps.
        train_size: rows in the training subset.
        regime: name of the regime, also "undetermined".
        train_recovery: recovery of training rows at the reference t, in [0, 1].
        test_recovery: the same of test rows.
        text: name of the source of the text and the kind of tokenizer.
        process: class of the noise process.
        backbone: class of the network.
        vocab_size: V.
        length: L.
        parameters: number of trainable parameters.
        evidence: measured on own samples.
    """

    sweep: str
    run: str
    step: int
    train_size: int
    regime: str
    train_recovery: float
    test_recovery: float
    text: str
    process: str
    backbone: str
    vocab_size: int
    length: int
    parameters: int
    evidence: Evidence


CURVE = tuple(f"entropy_t{t:g}" for t in TIMES)  # columns of the curve
COLUMNS = (*KnownModel._fields[:-1], *Evidence._fields[:-1], *CURVE)


def known_model(run: Run, judged: Any, sweep: str, num_rows: int = 256) -> KnownModel:
    """Measure the evidence on a model whose regime is known.

    Args:
        run: the model.
        judged: its entry from `sweeps.judged_models`.
        sweep: name of its sweep.
        num_rows: number of samples.
    """
    task, manifest = run.model.task, read_manifest(run.folder)
    return KnownModel(
        sweep,
        judged.run.name,
        judged.step,
        judged.train_size,
        judged.regime,
        judged.train_recovery,
        judged.test_recovery,
        f"{_kind(manifest.get('source'))}, {_kind(manifest.get('tokenizer_spec'))}",
        type(task.process).__name__,
        task.backbone_name,
        task.process.vocab_size,
        run.model.length,
        task.parameter_count,
        measure_own_samples(run, num_rows).evidence,
    )


def write_known_models(path: Path, models: Iterable[KnownModel]) -> None:
    """Write models as CSV, sorted by sweep, run and step."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for model in sorted(models, key=lambda one: (one.sweep, one.train_size, one.run, one.step)):
        values = (*model[:-1], *model.evidence[:-1], *model.evidence.curve)
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    write_text(path, text.getvalue())


def read_known_models(path: Path) -> list[KnownModel]:
    """Read a table of `write_known_models`.

    Raises:
        InputError: the file is not such a table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_model(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it has no column {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"`{path}` is not a table of models ({why}). `uddm calibrate SWEEP... --table FILE.csv` writes one."
        ) from error


def _model(row: Mapping[str, str]) -> KnownModel:
    def converted(kind: type) -> dict[str, Any]:
        return {name: one(row[name]) for name, one in kind.__annotations__.items() if one in (int, float, str)}

    curve = tuple(float(row[name]) for name in CURVE)
    return KnownModel(**converted(KnownModel), evidence=Evidence(**converted(Evidence), curve=curve))


def _kind(entry: object) -> str:
    """Return the name of a component's class."""
    return str(entry.get("class_path", entry) if isinstance(entry, dict) else entry).rpartition(".")[2]
