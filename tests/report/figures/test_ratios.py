"""The figure of ratios, and its sentences on both sides of their conditions."""

import numpy as np

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.ratios import comparison_sentences, ratios_drawing
from uddm_lightning.results.study import Study
from uddm_lightning.transition.comparison import comparisons

NAMES = ("DiT", "wide")  # N_half of the second is four times that of the first


def compared(null=(), spread=1.3, names=NAMES, **sizes) -> Estimates:
    transition = sweeps.transition(names)
    for name in names:
        for entry in transition["backbones"][name]["estimates"]:
            if name in null:
                entry["n_half"] = None
            for key in ("n_mem", "n_half", "n_gen"):
                if entry[key]:
                    value = entry[key]["value"]
                    entry[key] |= {"low": value / spread, "high": value * spread}
    for place, entry in enumerate(transition["backbones"].values()):
        entry["parameters"] = 1000 * 10**place
    return Estimates(transition | {"comparison": comparisons(transition["backbones"])})


def said(tmp_path, verdict: Estimates, kinds=("recovery",), names=NAMES, change=lambda row: row) -> str:
    rows = [change(row) for row in sweeps.measurements(tmp_path, backbones=names, kinds=kinds)]
    return " ".join(comparison_sentences(Study(rows), verdict))


def test_ratios_are_drawn_with_their_intervals(tmp_path):
    study = Study(sweeps.measurements(tmp_path, backbones=NAMES))
    with style():
        drawing = ratios_drawing(study, compared())
        assert ratios_drawing(study, Estimates(sweeps.transition(NAMES))) is None
        assert ratios_drawing(study, compared(names=("DiT",))) is None
    dots = [line for line in drawing.figure.axes[0].get_lines() if line.get_marker() in "<o>"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in dots], [4.0, 4.0, 4.0])
    assert [row[:3] for row in drawing.table.rows] == [["wide", "DiT", size] for size in ("N_mem", "N_half", "N_gen")]
    assert [row[4] for row in drawing.table.rows] == ["yes"] * 3
    assert "in multiples of those of DiT" in drawing.caption


def test_a_size_moves_or_it_is_not_shown(tmp_path):
    assert "wide: N_half is 4.00 (2.76 to 5.80) times that of DiT." in said(tmp_path, compared())
    unclear = said(tmp_path, compared(spread=4.0))
    assert "wide: whether N_half differs from that of DiT is not shown: 4.00 (" in unclear
    missing = said(tmp_path, compared(null=("wide",)))
    assert "wide: N_half cannot be compared, because N_half of wide is null." in missing


def test_entropy_gaps_are_compared_at_the_largest_size(tmp_path):
    """The gap of the second model is changed by its entropy on own samples."""

    def shifted(by: float):
        def change(row):
            if row["backbone"] == "wide" and (row["metric"], row["split"]) == ("entropy", "samples"):
                ends = {name: str(float(row[name]) + by) for name in ("entropy", "entropy_low", "entropy_high")}
                return {**row, **ends}
            return row

        return change

    for by, verdict in ((0.5, "wider"), (-0.5, "narrower"), (0.0, "not shown to differ")):
        text = said(tmp_path, compared(), ("recovery", "entropy"), change=shifted(by))
        assert "wide: the entropy gap at N = 8,192 and t = 0.1 minus that of DiT is " in text
        assert text.endswith(f" nats: {verdict}.")
    (tmp_path / "none").mkdir()
    assert "entropy gap" not in said(tmp_path / "none", compared())
