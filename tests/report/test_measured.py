"""Paragraphs of the model card of an exported run about its measurements."""

from pathlib import Path

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.core.errors import InputError
from uddm_lightning.report.measured import measured_paragraphs
from uddm_lightning.results.tables import write_table


@pytest.mark.parametrize(
    ("size", "regime"),
    [(8, "memorizing"), (128, "in transition"), (512, "undetermined"), (8192, "generalizing")],
)
def test_one_run_is_judged_by_absolute_rules(tmp_path: Path, size: int, regime: str) -> None:
    """A single run has no plateau. An earlier rule compared it with itself and called a gap of 0.054 generalizing."""
    sweeps.measurements(tmp_path, (size,))
    text = "\n".join(measured_paragraphs(tmp_path, "ema", 200))
    assert f"At t = 0.1, judged by this one run: **{regime}**. Recovery is " in text
    assert "plateau" not in text
    assert "the chain raised the share of wrong tokens from 9.6" in text
    assert "NELBO on t in [0.001, 1] (extrapolated: trained on a part of it), test rows" in text


def test_a_run_that_has_not_learned_is_not_generalizing(tmp_path: Path) -> None:
    """An earlier rule called a run with recovery 0.055 / 0.053 generalizing."""
    low = {"train": 0.055, "test": 0.053}
    rows = [
        {**row, "recovery": f"{low[row['split']]}", "recovery_low": "0.045", "recovery_high": "0.063"}
        if row["metric"] == "recovery"
        else row
        for row in sweeps.measurements(tmp_path, (8192,))
    ]
    write_table(tmp_path / "measurements.csv", rows)
    text = "\n".join(measured_paragraphs(tmp_path, "ema", 200))
    assert "judged by this one run: **not learned yet**" in text
    assert "lies below the coincidence level 0.076" in text


def test_damaged_draws_are_named(tmp_path: Path) -> None:
    sweeps.measurements(tmp_path, (8,))
    (tmp_path / "rows.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match="Move it away; reports and model cards do without it"):
        list(measured_paragraphs(tmp_path, "ema", 200))
