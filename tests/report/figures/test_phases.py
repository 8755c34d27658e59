"""Figures over steps: what they draw, what they leave out, and their tables."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from tests.support.simulated_surfaces import Surface
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import REGIME_COLOURS, Drawing, style
from uddm_lightning.report.figures.learning import learning_drawing
from uddm_lightning.report.figures.phases import phases_drawing, spelled_time
from uddm_lightning.report.figures.times import sizes_drawing, times_drawing
from uddm_lightning.results.study import Study
from uddm_lightning.transition import estimate

SURFACE = Surface()
DRAW = {"phases": phases_drawing, "times": times_drawing, "sizes": sizes_drawing, "learning": learning_drawing}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return SURFACE.rows(np.random.default_rng(0))


@pytest.fixture(scope="module")
def transition(rows: list[dict[str, str]]) -> dict:
    return estimate(rows)


@pytest.fixture(scope="module")
def drawn(rows: list[dict[str, str]], transition: dict) -> Iterator[dict[str, Drawing]]:
    study, verdict = Study(rows), Estimates(transition)
    with style():
        found = {name: draw(study, verdict) for name, draw in DRAW.items()}
        yield {name: drawing for name, drawing in found.items() if drawing is not None}


def test_every_known_regime_is_a_cell_of_its_colour(drawn: dict[str, Drawing], transition: dict) -> None:
    cells = transition["backbones"]["DiT"]["over_steps"]["cells"]
    for axes, key in zip(drawn["phases"].figure.axes, ("regime", "entropy_regime"), strict=True):
        colours = [to_hex(patch.get_facecolor()) for patch in axes.patches if isinstance(patch, Rectangle)]
        wanted = [REGIME_COLOURS[cell[key]][0] for cell in cells if cell[key] in REGIME_COLOURS]
        assert sorted(colours) == sorted(wanted)
        assert len(wanted) < len(cells), "undetermined cells are empty"
    assert len(drawn["phases"].table.rows) == len(cells)


def test_times_have_intervals_and_censored_ones_are_triangles(drawn: dict[str, Drawing]) -> None:
    (axes,) = drawn["times"].figure.axes
    markers = [line.get_marker() for line in axes.lines]
    assert {"^", "v", "x", "o"} <= set(markers)
    tips = [tip for tips in drawn["times"].tips.values() for tip in tips]
    assert any("not reached within 4000 steps by 3 of 3 runs" in tip for tip in tips)
    assert any("smallest test NELBO" in tip and "the minimum between steps" in tip for tip in tips)
    slopes = [line for line in drawn["times"].remarks if "grows as N to the power" in line]
    assert any(line.startswith("τ_mem by recovery grows as N to the power") for line in slopes)
    assert not any("one power does not fit" in line for line in slopes if " by recovery " in line)


def test_times_that_one_power_does_not_fit_are_said_to(rows: list[dict[str, str]], transition: dict) -> None:
    changed = copy.deepcopy(transition)
    for entry in changed["backbones"]["DiT"]["over_steps"]["times"]:
        entry["bend"] = [{"train_size": 8, "slope": 0.1}, {"train_size": 256, "slope": 0.9}]
    with style():
        drawing = times_drawing(Study(rows), Estimates(changed))
    said = "; one power does not fit: the exponent of a parabola in ln N is 0.10 at N = 8 and 0.90 at N = 256."
    assert any(line.endswith(said) for line in drawing.remarks)


def test_a_missing_slope_has_its_reason(rows: list[dict[str, str]]) -> None:
    few = [row for row in rows if row["train_size"] in ("32", "64")]
    with style():
        drawing = times_drawing(Study(few), Estimates(estimate(few)))
    assert drawing is not None
    assert any("τ_mem by recovery has no slope: the time is known at 2 sizes" in line for line in drawing.remarks)


def test_sizes_are_drawn_against_steps_and_epochs(drawn: dict[str, Drawing]) -> None:
    above, below = drawn["sizes"].figure.axes
    assert above.get_xlabel() == "training steps"
    assert below.get_xlabel() == "epochs"
    for one, other in zip(above.lines, below.lines, strict=True):
        steps, sizes = one.get_data()
        assert other.get_xdata() == pytest.approx(np.asarray(steps) * 32 / np.asarray(sizes))


def test_epochs_between_two_powers_of_2_have_a_tick(rows: list[dict[str, str]], transition: dict) -> None:
    changed = copy.deepcopy(transition)
    sizes = changed["backbones"]["DiT"]["over_steps"]["sizes"]
    for one in sizes:
        one |= dict.fromkeys(("n_mem", "n_half", "n_gen"))
    for one, epochs in zip(sizes[-2:], (100, 120), strict=True):
        one["n_half"] = {"value": one["step"] * 32 / epochs, "low": None, "high": None}
    with style():
        drawing = sizes_drawing(Study(rows), Estimates(changed))
    assert drawing is not None
    (label,) = drawing.figure.axes[1].get_xticklabels()
    assert 100 < int(label.get_text()) < 120


def test_the_nelbo_and_the_weight_norm_are_drawn_for_every_size(drawn: dict[str, Drawing]) -> None:
    nelbo, norm = drawn["learning"].figure.axes
    assert sum(len(line.get_xdata()) == 6 for line in nelbo.lines) == 2 * len(SURFACE.sizes)
    assert sum(len(line.get_xdata()) == 6 for line in norm.lines) == len(SURFACE.sizes)
    assert "weight norm" in drawn["learning"].table.head
    assert "Below: the Euclidean norm" in drawn["learning"].caption
    assert "Grey" not in drawn["learning"].caption


def test_without_weight_norms_there_is_no_panel_of_them(rows: list[dict[str, str]]) -> None:
    made = [{**row, "weight_norm": ""} for row in rows]
    with style():
        drawing = learning_drawing(Study(made), Estimates(estimate(made)))
    assert drawing is not None
    assert len(drawing.figure.axes) == 1
    assert "Below" not in drawing.caption


def test_the_exact_model_is_a_line_and_a_sentence(rows: list[dict[str, str]]) -> None:
    excess = {"excess_nelbo": "0.2", "excess_nelbo_low": "0.1", "excess_nelbo_high": "0.3"}
    made = [{**row, **excess} if row["metric"] == "nelbo" else row for row in rows]
    with style():
        drawing = learning_drawing(Study(made), Estimates(estimate(made)))
    assert drawing is not None
    assert "Grey: the exact model of the text. " in drawing.caption
    assert any("test NELBO minus that of the exact model" in line for line in drawing.remarks)
    assert "test NELBO minus exact [nats]" in drawing.table.head
    assert "test recovery minus exact" not in drawing.table.head, "it needs a run of the exact model"
    assert {len(line) for line in drawing.table.rows} == {len(drawing.table.head)}


def test_there_is_no_figure_without_steps(rows: list[dict[str, str]]) -> None:
    last = [row for row in rows if row["step"] == "4000"]
    verdict = Estimates(estimate(last))
    assert [draw(Study(last), verdict) for draw in DRAW.values()] == [None] * 4


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"value": 283.0, "low": 200.0, "high": 400.0}, "283 (200 to 400)"),
        ({"value": 283.0, "low": None, "high": 400.0}, "283 (unknown to 400)"),
        ({"value": None, "low": 4000.0, "high": None}, "above 4,000"),
        ({"value": None, "low": None, "high": 125.0}, "at most 125"),
        ({"value": None, "low": None, "high": None}, "unknown"),
    ],
)
def test_a_time_is_spelled_with_its_ends(entry: dict, words: str) -> None:
    assert spelled_time(entry) == words
