"""The sweeps of `configs/ablations`: how the transition moves, and the findings on the width of the network."""

import json
from pathlib import Path

import pytest

from tests.configs.test_quickstart import uddm
from tests.support.results import write_results
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.ratios import comparison_sentences
from uddm_lightning.report.figures.samples import peak_sentences
from uddm_lightning.results.declarations import read_declarations
from uddm_lightning.results.parquet import read_parquet
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import read_table

CONFIGS = Path(__file__).parents[2] / "configs"
BARS = "pytest -m bar -n 0 -s tests/configs/test_ablations.py"
FINDINGS = ("--seeds", "0,1,2", "--samples.critic", "HeldOutNgramCritic")


def swept(name: str, folder: Path, *options: object) -> dict:
    """Run the sweep of an ablation and write its comparison; return the content of transition.json."""
    uddm(
        "sweep", "-c", CONFIGS / "quickstart.yaml", "-c", CONFIGS / f"ablations/{name}.yaml", "--out", folder, *options
    )
    transition = json.loads((folder / "transition.json").read_text(encoding="utf-8"))
    rows, draws = read_table(folder / "measurements.csv"), read_parquet(folder / "rows.parquet")
    study, verdict = Study(rows, read_declarations(folder), draws), Estimates(transition)
    notes = [*comparison_sentences(study, verdict), *peak_sentences(study, verdict)]
    write_results(f"ablation-{name}.csv", f"{BARS} -k {name}", list(transition["comparison"]), *notes)
    return transition


@pytest.mark.bar
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", ["objective", "regularization", "batch", "noise", "chain"])
def test_an_ablation_is_compared_with_its_control(tmp_path: Path, name: str) -> None:
    """One seed: the intervals cover the sampling of rows and noise, not the training."""
    transition = swept(name, tmp_path, "--sizes", "8:8192:x4")
    assert {row["to"] for row in transition["comparison"]} == {"control"}
    assert any(row["size"] == "n_half" and row["ratio"] for row in transition["comparison"])


@pytest.mark.bar
@pytest.mark.timeout(4 * 3600)
def test_findings_on_the_width(tmp_path: Path) -> None:
    """Onsets, entropy gaps and perplexity of three widths with three seeds; the numbers are reported as they are."""
    transition = swept("width", tmp_path, *FINDINGS)
    assert {row["to"] for row in transition["comparison"]} == {"hidden32"}
    assert any(row["size"] == "n_half" and row["ratio"] for row in transition["comparison"])
