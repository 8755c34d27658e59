"""The sweep of `configs/capacity.yaml`: bits memorized per parameter."""

from pathlib import Path

import pytest

from tests.configs.test_quickstart import uddm
from tests.support.results import write_results
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.capacity import capacity_sentences, memorized_means
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import read_table

CONFIG = Path(__file__).parents[2] / "configs" / "capacity.yaml"
BARS = "pytest -m bar -n 0 -s tests/configs/test_capacity.py"
MODELS = [word for width in (8, 16, 32) for word in ("--backbone", f"backbones/hidden{width}")]


def lines_of(folder: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Return the memorized bits of each model and size, and the sentences of the report."""
    study = Study(read_table(folder / "measurements.csv"))
    lines = [
        {
            "model": name,
            "parameters": study.parameters[name],
            "train_size": mean.size,
            "bits": mean.value,
            "low": mean.low,
            "high": mean.high,
            "bits_per_parameter": mean.value / study.parameters[name],
        }
        for name in study.backbones
        for mean in memorized_means(study, name)
    ]
    return lines, capacity_sentences(study, Estimates({}))


@pytest.mark.bar
@pytest.mark.timeout(4 * 3600)
def test_a_larger_model_memorizes_more_bits(tmp_path: Path) -> None:
    uddm("sweep", "-c", CONFIG, "--out", tmp_path, "--sizes", "64:4096:x4", *MODELS)
    lines, sentences = lines_of(tmp_path)
    write_results("capacity.csv", BARS, lines, *sentences)
    most = {
        name: max(float(str(line["bits"])) for line in lines if line["model"] == name)
        for name in ("hidden8", "hidden16", "hidden32")
    }
    assert most["hidden8"] < most["hidden16"] < most["hidden32"]
