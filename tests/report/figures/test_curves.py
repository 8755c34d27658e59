"""The figures over N: their content; none is blank."""

import math

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates, three_sizes
from uddm_lightning.report.figures.comparison import agreement_drawing, models_drawing
from uddm_lightning.report.figures.curves import entropy_drawing, recovery_drawing
from uddm_lightning.report.figures.drawing import RAMP, palette, ramp, style
from uddm_lightning.report.figures.gaps import gaps_drawing
from uddm_lightning.results.study import Study

FIGURES = ["agreement", "densities", "entropy", "errors", "front", "gap", "recovery", "samples", "sentences"]


def of_gid(axes, gid):
    return axes.findobj(lambda artist: artist.get_gid() == gid)


def test_every_figure_has_two_files_and_is_not_blank(report, models):
    for folder, names in ((report, FIGURES), (models, sorted([*FIGURES, "models", "frontier"]))):
        for suffix in ("png", "svg"):
            assert sorted(path.stem for path in (folder / "figures").glob(f"*.{suffix}")) == names
        for name in names:
            pixels = matplotlib.image.imread(folder / "figures" / f"{name}.png")[..., :3]
            ink = np.abs(pixels - 1).sum(axis=-1) > 0.1
            assert 0.01 < ink.mean() < 0.6, name
            assert ink[:, -8:].mean() < 0.2, f"{name} runs over its right edge"


def test_line_styles_show_the_split_and_colours_show_t(study, verdict):
    with style():
        drawing = recovery_drawing(study, verdict)
    nelbo, recovery = drawing.figure.axes
    solid, dashed, dotted = (
        [line for line in recovery.get_lines() if line.get_linestyle() == kind and len(line.get_xdata()) > 2]
        for kind in ("-", "--", ":")
    )
    colours = [ramp(index, 4)[0] for index in range(4)]
    coincidence = solid.pop()
    assert set(coincidence.get_ydata()) == {sweeps.COINCIDENCE}
    assert "the recovery of the ancestral chain if it overwrites a row" in drawing.caption
    assert "the sum of squared token frequencies" in drawing.caption
    for lines in (solid, dashed, dotted):
        assert [to_hex(line.get_color()) for line in lines] == colours
    for lines, split in ((solid, "train"), (dashed, "test")):
        means = study.means("recovery", "DiT", split, 0.1)
        np.testing.assert_allclose(lines[1].get_ydata(), [mean.value for mean in means])
        assert list(lines[1].get_xdata()) == list(sweeps.SIZES)
    assert [line.get_linestyle() for line in nelbo.get_lines()[:2]] == ["-", "--"]
    assert "on t in [0.05, 1]" in drawing.caption
    assert "0.001" not in drawing.caption
    labels = [text.get_text() for text in drawing.figure.legends[0].get_texts() if text.get_text().strip()]
    assert sorted(labels) == ["chance", "coincidence", "test", "train"]
    written = [text.get_text() for text in recovery.texts]
    assert {"t = 0.05", "t = 0.1", "t = 0.25", "t = 0.5", "train", "test"} <= set(written), "beside the lines"
    assert len(recovery.collections) == 8, "whiskers for each curve"


def test_labels_of_lines_stand_inside_the_axes(study, verdict):
    with style():
        axes = recovery_drawing(study, verdict).figure.axes[-1]
        axes.figure.canvas.draw()
    frame = axes.get_window_extent()
    for text in axes.texts:
        if text.get_text() in ("train", "test"):
            box = text.get_window_extent()
            assert frame.y0 <= box.y0 < box.y1 <= frame.y1, text.get_text()


def test_the_axis_is_log2_with_the_sizes_as_ticks(study, verdict):
    with style():
        axes = recovery_drawing(study, verdict).figure.axes[-1]
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_transform().base == 2
    assert list(axes.get_xticks()) == list(sweeps.SIZES)
    assert not len(axes.get_xticks(minor=True))
    assert [label.get_text() for label in axes.get_xticklabels()][-2:] == ["2,048", "8,192"]


def test_n_half_is_a_line_a_span_and_a_label(study, verdict):
    with style():
        drawings = recovery_drawing(study, verdict), entropy_drawing(study, verdict)
    for drawing in drawings:
        axes = drawing.figure.axes[-1]
        (line,), (span,), (label,) = (of_gid(axes, f"n_half-{part}") for part in ("line", "span", "label"))
        assert line.get_xdata()[0] == sweeps.STAR
        assert span.get_x() == pytest.approx(sweeps.STAR / 1.3)
        assert span.get_x() + span.get_width() == pytest.approx(sweeps.STAR * 1.3)
        assert label.get_text() == "N_half = 64\n49 to 83"


def test_unknown_sizes_are_not_marked(study):
    with style():
        drawing = recovery_drawing(study, Estimates(sweeps.transition(null=True)))
        agreement = agreement_drawing(study, Estimates(sweeps.transition(null=True)))
        assert agreement_drawing(study, Estimates({})) is None
    assert not of_gid(drawing.figure.axes[-1], "n_half-line")
    assert agreement is not None
    assert len(agreement.remarks) == 3
    all_t = "t = 0.05, 0.1, 0.25, 0.5"
    assert agreement.remarks[0] == f"recovery, {all_t}: no N_mem, N_half and N_gen (the curve is flat)"


def test_several_seeds_show_as_points_around_their_mean(tmp_path):
    study = Study(sweeps.measurements(tmp_path, seeds=(0, 1)))
    with style():
        drawing = recovery_drawing(study, Estimates({}))
    axes = drawing.figure.axes[-1]
    points = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in points] == [14] * 8
    texts = drawing.tips[points[0].get_gid()]
    assert texts[1].startswith("train, t = 0.05, N = 2, seed 1: ")
    mean = study.mean("recovery", "DiT", "train", 8, 0.1)
    assert mean is not None
    assert mean.value == pytest.approx(np.mean([point.value for point in mean.points]))


def test_the_axis_of_the_nelbo_holds_the_lines_of_every_backbone(tmp_path):
    rows = sweeps.measurements(tmp_path, backbones=("a", "b"), kinds=("recovery", "nelbo"))
    for row in rows:
        if row["backbone"] == "b" and row["nelbo"]:
            row |= {name: str(3 * float(row[name])) for name in ("nelbo", "nelbo_low", "nelbo_high")}
    with style():
        panels = recovery_drawing(Study(rows), Estimates({})).figure.axes[:2]
    for axes in panels:
        low, high = axes.get_ylim()
        assert -0.1 * high < low < 0.0
        assert all(max(line.get_ydata()) < high for line in axes.get_lines()[:2])


def test_several_backbones_share_their_axes(tmp_path):
    study = Study(sweeps.measurements(tmp_path, backbones=("a", "b")))
    verdict = Estimates(sweeps.transition(("a", "b")))
    with style():
        recovery, entropy, models = (d(study, verdict) for d in (recovery_drawing, entropy_drawing, models_drawing))
    assert len(recovery.figure.axes) == 4
    assert len(entropy.figure.axes) == 2
    for figure in (recovery.figure, entropy.figure):
        assert len({axes.get_ylim() for axes in figure.axes[-2:]}) == 1
        assert len({axes.get_xlim() for axes in figure.axes}) == 1
    stars, curves, gaps = models.figure.axes
    dots = [line.get_xdata()[0] for line in stars.get_lines() if line.get_marker() == "o"]
    assert dots == [sweeps.STAR, 4 * sweeps.STAR]
    assert len({to_hex(line.get_color()) for line in curves.get_lines()}) == 2
    expected = study.entropy_gaps("b", 0.1)
    np.testing.assert_allclose(gaps.get_lines()[1].get_ydata(), [gap.value for gap in expected])
    assert len(gaps.collections) == 2, "whiskers for each gap"
    assert f"{expected[0].value:.3f} ({expected[0].low:.3f} to {expected[0].high:.3f})" in models.table.rows[7][-1]


def test_colours_differ_from_each_other_and_from_the_page():
    def luminance(colour):
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pages = luminance("#fdfdfc"), luminance("#14171b")
    for name, (light, dark) in palette().items():
        on_light = (pages[0] + 0.05) / (luminance(light) + 0.05)
        on_dark = (luminance(dark) + 0.05) / (pages[1] + 0.05)
        assert on_light > 2.0, name
        assert on_dark > 2.5, name
    for side in (0, 1):  # the order is visible without hue
        steps = [luminance(ramp(index, RAMP)[side]) for index in range(RAMP)]
        assert all(math.isfinite(step) for step in steps)
        assert steps == sorted(steps)
    assert len({pair[0] for pair in palette().values()}) == len(palette())


def test_overlapping_labels_are_left_out(tmp_path):
    sizes = (100, 101, 102, 200, 8192)
    with style():
        axes = recovery_drawing(Study(sweeps.measurements(tmp_path, sizes)), Estimates({})).figure.axes[-1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "", "", "200", "8,192"]


def test_the_three_sizes_are_the_ends_and_the_one_nearest_to_n_half(study, verdict):
    assert three_sizes(study, verdict, "DiT", list(sweeps.SIZES)) == [2, 32, 8192]
    assert three_sizes(study, Estimates({}), "DiT", list(sweeps.SIZES)) == [2, 128, 8192]
    assert three_sizes(study, verdict, "DiT", [2, 8]) == [2, 8]


def test_an_oracle_is_a_line_across_all_sizes_in_the_colour_of_its_t(oracle_rows):
    study = Study(oracle_rows)
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


def test_several_sizes_of_an_oracle_are_a_separate_curve(oracle_rows):
    memory = [
        {
            **row,
            "backbone": "EmpiricalBayesBackbone",
            "run": f"memory-{row['train_size']}",
            "parameters": "0",
            "step": "0",
        }
        for row in oracle_rows
        if row["backbone"] == "DiT" and row["step"] == "200"
    ]
    study = Study([*oracle_rows, *memory])
    assert study.oracles == ["EmpiricalBayesBackbone", "MarkovBackbone"]
    with style():
        axes = recovery_drawing(study, Estimates(sweeps.transition())).figure.axes[-1]
    curves = [line for line in axes.get_lines() if line.get_marker() == "None" and line.get_linestyle() == "--"]
    assert any(list(line.get_xdata()) == list(sweeps.SIZES) for line in curves)


def test_at_one_size_every_level_is_seen(tmp_path):
    study, verdict = Study(sweeps.measurements(tmp_path, (128,))), Estimates(sweeps.transition(sizes=(128,)))
    with style():
        recovery, entropy = (draw(study, verdict).figure.axes[-1] for draw in (recovery_drawing, entropy_drawing))
        gap = gaps_drawing(study, verdict)
    assert gap is not None
    assert sweeps.COINCIDENCE in [line.get_ydata()[0] for line in recovery.lines if len(line.get_ydata()) == 2]
    highest = max(line.get_ydata()[0] for line in entropy.lines if line.get_marker() == "o")
    assert highest < 0.97 * entropy.get_ylim()[1]
    assert gap.figure.axes[0].get_ylim()[0] <= -0.06, "the tolerance does not fill the panel"
