"""The figure of memorized bits, and its sentences on both sides of their conditions."""

import numpy as np
import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.capacity import capacity_drawing, capacity_sentences
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.results.study import Study

RAW, P = 100.0, 1000  # bits per row; parameters of the made-up DiT, whose N_half is 64 rows: 6.4 bits per parameter
SIZES = (8, 64, 512)


def study(tmp_path, memorized=None, parameters=P, names=("DiT",), raw=RAW) -> Study:
    """Return a sweep with bits per row; `memorized` gives those of a model at a size."""
    rows, folder = [], tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    for row in sweeps.measurements(folder, SIZES, backbones=names):
        if row["metric"] == "nelbo" and row["split"] == "train":
            row |= {"raw_bits": str(raw)}
            if memorized:
                bits = memorized(row["backbone"], int(row["train_size"]))
                ends = {"memorized_bits": bits, "memorized_bits_low": 0.9 * bits, "memorized_bits_high": 1.1 * bits}
                row |= {name: str(value) for name, value in ends.items()}
        rows.append({**row, "parameters": str(parameters)} if row["parameters"] == str(P) else row)
    return Study(rows)


def said(made: Study, verdict: Estimates | None = None) -> str:
    verdict = verdict or Estimates(sweeps.transition(made.backbones, sizes=SIZES))
    return " ".join(capacity_sentences(made, verdict))


def test_bits_are_those_of_all_rows_per_parameter(tmp_path):
    made = study(tmp_path, lambda name, size: min(90.0, 3200.0 / size))
    with style():
        drawing = capacity_drawing(made, Estimates(sweeps.transition(sizes=SIZES)))
    raw, memorized, half = drawing.figure.axes[0].get_lines()[:3]
    np.testing.assert_allclose(raw.get_ydata(), [size * RAW / P for size in SIZES])
    np.testing.assert_allclose(memorized.get_ydata(), [0.72, 3.2, 3.2])
    np.testing.assert_allclose(half.get_data(), [[64.0], [6.4]])
    assert drawing.table.rows[1][2:5] == ["64", "6,400", "6.400"]
    assert drawing.table.rows[1][5:] == ["3,200 (2,880 to 3,520)", "3.200 (2.880 to 3.520)"]


def test_without_the_length_of_rows_there_is_no_figure(tmp_path):
    with style():
        assert capacity_drawing(Study(sweeps.measurements(tmp_path)), Estimates({})) is None
        assert capacity_drawing(study(tmp_path), Estimates({})) is None, "neither N_half nor memorized bits"
        bare = capacity_drawing(study(tmp_path, lambda name, size: 90.0), Estimates({}))
        half = capacity_drawing(study(tmp_path), Estimates(sweeps.transition(sizes=SIZES)))
    assert "Solid: bits memorized" in bare.caption
    assert "Circle" not in bare.caption
    assert "Solid: bits memorized" not in half.caption
    assert "Circle" in half.caption
    assert [handle.get_linestyle() for handle in half.handles] == [":", ":", "--"]


def test_n_half_is_compared_with_the_capacity_of_gpts(tmp_path):
    text = said(study(tmp_path, parameters=64000))
    assert "The raw text of N_half = 64 rows has 0.1 (0.0769 to 0.13) bits per parameter." in text
    assert "That is 36 times less than the 3.6 bits per parameter of GPTs (Morris et al. 2025)" in text
    assert "If this model can store that many, N_half is set by its training and not by its capacity." in text
    text = said(study(tmp_path))
    assert (
        "That is not surely less than the 3.6 bits per parameter of GPTs (Morris et al. 2025): its capacity may" in text
    )
    assert "set by its training" not in text
    several = said(study(tmp_path, names=("DiT", "wide")))
    assert "DiT: the raw text of N_half" in several


def test_n_half_is_compared_with_the_bits_that_this_model_memorized_where_they_are_known(tmp_path):
    little = said(study(tmp_path, lambda name, size: 6000.0 / size))
    assert "not surely less than the most bits that it memorized" in little
    much = said(study(tmp_path, lambda name, size: 96.0 if size < 512 else 12800.0 / 512, raw=100.0))
    assert "That is 2 times less than the most bits that it memorized" in much
    assert "GPTs" not in much


def test_a_capacity_is_a_plateau_or_says_why_not(tmp_path):
    flat = said(study(tmp_path, lambda name, size: 6000.0 / size if size > 8 else 90.0))
    assert (
        "DiT: at most 6,000 bits were memorized, at N = 64; 6 (5.4 to 6.6) bits per parameter after 200 steps, a"
        in flat
    )
    rising = said(study(tmp_path, lambda name, size: 90.0))
    assert "no plateau: it is reached at the largest size, so larger ones may reach more." in rising


@pytest.mark.parametrize(("factor", "agrees"), [(10.0, True), (20.0, False)])
def test_models_agree_if_each_lies_in_the_interval_of_the_other(tmp_path, factor, agrees):
    """The second model has ten times the parameters."""
    scale = {"DiT": 1.0, "wide": factor}
    text = said(study(tmp_path, lambda name, size: scale[name] * 6000.0 / size, names=("DiT", "wide")))
    assert ("The bits per parameter of all models are within each other's intervals." in text) == agrees
    assert ("are not within each other's intervals for DiT and wide. Models need not" in text) == (not agrees)
    alone = said(study(tmp_path, lambda name, size: 6000.0 / size))
    assert "each other's" not in alone
