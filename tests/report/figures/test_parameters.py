"""Times and sizes of several models against their parameters."""

import numpy as np
import pytest

from tests.support.simulated_surfaces import Surface
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.parameters import parameters_drawing
from uddm_lightning.results.study import Study
from uddm_lightning.transition import estimate


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    one = Surface().rows(np.random.default_rng(0))
    about = {"backbone": "wide", "parameters": "4000"}
    other = Surface(first=50.0).rows(np.random.default_rng(1))
    return [*one, *({**row, **about, "run": f"wide-{row['run']}"} for row in other)]


def test_every_model_is_a_point_of_each_quantity_that_is_known(rows: list[dict[str, str]]) -> None:
    transition = estimate(rows)
    with style():
        drawing = parameters_drawing(Study(rows), Estimates(transition))
    assert drawing is not None
    above, below = drawing.figure.axes
    known = {name: entry["over_steps"] for name, entry in transition["backbones"].items()}
    for name, parameters in (("DiT", 1000), ("wide", 4000)):
        taus = next(one for one in known[name]["times"] if (one["time"], one["method"]) == ("tau_mem", "recovery"))
        values = {one["value"] for one in taus["sizes"] if one["value"] is not None}
        lines = [line for line in above.lines if parameters in line.get_xdata()]
        drawn = {float(y) for line in lines for x, y in zip(*line.get_data(), strict=True) if x == parameters}
        assert drawn == values
    n_mem = [known[name]["sizes"][-1]["n_mem"]["value"] for name in ("DiT", "wide")]
    assert any(list(line.get_ydata()) == n_mem for line in below.lines)
    assert ["wide", "4,000", "N_mem"] in [row[:3] for row in drawing.table.rows]


def test_one_model_has_no_such_figure(rows: list[dict[str, str]]) -> None:
    one = [row for row in rows if row["backbone"] == "DiT"]
    assert parameters_drawing(Study(one), Estimates(estimate(one))) is None
