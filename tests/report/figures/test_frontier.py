"""The figure of trade-offs."""

import numpy as np

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.frontier import frontier_drawing
from uddm_lightning.results.study import Study


def test_models_stand_at_their_values_of_the_largest_size(tmp_path):
    study = Study(sweeps.measurements(tmp_path, backbones=("DiT", "wide")))
    with style():
        drawing = frontier_drawing(study)
    restored, drawn = ([line.get_xydata()[0] for line in axes.get_lines()] for axes in drawing.figure.axes)
    last = {name: study.means("recovery", name, "test", 0.1)[-1].value for name in study.backbones}
    np.testing.assert_allclose(restored, [[0.05, last["DiT"]], [0.05, last["wide"]]])
    assert len(drawn) == 3, "the test rows below two models"
    np.testing.assert_allclose(drawn[1][0], study.column("unigram_entropy", "samples", "DiT", "samples")[-1].value)
    low, high = drawing.figure.axes[1].get_xlim()
    assert high - low > 0.019 * high, "differences in the fifth digit are not enlarged"
    assert [row[0] for row in drawing.table.rows] == ["DiT", "wide"]
    assert "All models at N = 8,192." in drawing.caption


def test_one_model_has_no_trade_off_and_a_panel_may_be_empty(tmp_path):
    with style():
        assert frontier_drawing(Study(sweeps.measurements(tmp_path))) is None
        (tmp_path / "two").mkdir()
        rows = sweeps.measurements(tmp_path / "two", backbones=("DiT", "wide"), kinds=("recovery",))
        drawing = frontier_drawing(Study(rows))
        assert frontier_drawing(Study([row | {"clean_change_rate": ""} for row in rows])) is None
    assert [len(axes.get_lines()) for axes in drawing.figure.axes] == [2, 0]
