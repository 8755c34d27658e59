"""Reports that several tests read, written once."""

from pathlib import Path

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.report import write_report
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.results.study import Study

HOSTILE = "<script>alert(1)</script>&\"'"
ABOUT = {"corpus": f"a text with {HOSTILE}", "machine": "two cores"}


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model, one seed, and a hostile and an unprintable token."""
    folder = tmp_path_factory.mktemp("sweep")
    alphabet = [*sweeps.ALPHABET[:-3], HOSTILE, "$x^2$\x07\u202e", " "]
    write_report(folder, sweeps.measurements(folder), sweeps.transition(), sweeps.sequences(alphabet=alphabet), ABOUT)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, two seeds, and sizes that are not powers of two."""
    folder, names, sizes = tmp_path_factory.mktemp("models"), ("small", "large"), (10, 100, 1000)
    rows = sweeps.measurements(folder, sizes, seeds=(0, 1), backbones=names)
    write_report(folder, rows, sweeps.transition(names, sizes=sizes), sweeps.sequences(sizes, names), {})
    return folder


@pytest.fixture(scope="module")
def oracle_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The table of a sweep with an oracle that was measured at the largest size."""
    return sweeps.with_oracle(sweeps.measurements(tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The measurements of one model and one seed."""
    return Study(sweeps.measurements(tmp_path_factory.mktemp("one")), sweeps.DECLARED)


@pytest.fixture(scope="session")
def verdict() -> Estimates:
    """The estimates of that model."""
    return Estimates(sweeps.transition())
