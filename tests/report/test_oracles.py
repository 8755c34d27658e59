"""What an oracle reaches is drawn into the figures of the models, and is no model itself."""

import pytest
from matplotlib.colors import to_hex

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.curves import entropy_drawing, recovery_drawing
from uddm_lightning.report.figures.drawing import ramp, style
from uddm_lightning.report.page import page
from uddm_lightning.results.study import Study
from uddm_lightning.transition import estimate


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A sweep, and an oracle that was measured at its largest size."""
    rows = sweeps.measurements(tmp_path_factory.mktemp("one"))
    best = [
        {**row, "backbone": "MarkovBackbone", "run": "best", "parameters": "0", "step": "0", row["metric"]: "0.625"}
        for row in rows
        if row["train_size"] == str(sweeps.SIZES[-1]) and row["step"] == "200"
    ]
    return [*rows, *best]


@pytest.fixture(scope="module")
def study(rows):
    return Study(rows)


def test_it_is_a_line_across_all_sizes_in_the_colour_of_its_t(study):
    assert study.backbones == ["DiT"]
    assert study.oracles == ["MarkovBackbone"]
    with style():
        drawings = [draw(study, Estimates(sweeps.transition())) for draw in (recovery_drawing, entropy_drawing)]
    for drawing, times in zip(drawings, (4, 4), strict=True):
        lines = [line for line in drawing.figure.axes[-1].get_lines() if list(line.get_ydata()) == [0.625, 0.625]]
        assert [to_hex(line.get_color()) for line in lines] == [ramp(index, times)[0] for index in range(times)]
        assert all(list(line.get_xdata()) == [sweeps.SIZES[0], sweeps.SIZES[-1]] for line in lines)
        assert "exact posterior" in drawing.caption
        assert "exact posterior" in {text.get_text() for text in drawing.figure.legends[0].get_texts()}
        assert any(cells[0] == "MarkovBackbone" and "0.625" in " ".join(cells) for cells in drawing.table.rows)


def test_several_sizes_of_an_oracle_are_a_curve_of_its_own(rows):
    memory = [
        {
            **row,
            "backbone": "EmpiricalBayesBackbone",
            "run": f"memory-{row['train_size']}",
            "parameters": "0",
            "step": "0",
        }
        for row in rows
        if row["backbone"] == "DiT" and row["step"] == "200"
    ]
    study = Study([*rows, *memory])
    assert study.oracles == ["EmpiricalBayesBackbone", "MarkovBackbone"]
    with style():
        axes = recovery_drawing(study, Estimates(sweeps.transition())).figure.axes[-1]
    curves = [line for line in axes.get_lines() if line.get_marker() == "None" and line.get_linestyle() == "--"]
    assert any(list(line.get_xdata()) == list(sweeps.SIZES) for line in curves)


def test_the_page_says_how_near_the_models_come(study):
    html = page(study, Estimates(sweeps.transition()), [], [], [], {})
    assert "Recovery of test rows at t = 0.1: the exact posterior&#x27;s chain reaches 0.625" in html
    assert "; DiT at N = 8,192 reaches 0." in html
    assert "can recover more than the exact posterior" in html, "it is no upper bound"
    assert "MarkovBackbone (0 parameters)" not in html


def test_an_oracle_has_no_transition(rows):
    assert list(estimate(rows)["backbones"]) == ["DiT"]


def test_oracles_alone_are_reported_like_models(rows):
    alone = Study([row for row in rows if row["backbone"] == "MarkovBackbone"])
    assert alone.backbones == ["MarkovBackbone"]
    assert alone.oracles == []
