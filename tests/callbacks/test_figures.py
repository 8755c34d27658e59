"""The figure against t, and the panel of restored text, without a trainer."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from tests.support.probes import PROBES, record
from uddm_lightning.callbacks.figures import pixels, sequence_panel, time_figure, write_picture

CURVES = [(probe.time_curve, probe.kind) for probe in PROBES if probe.time_curve]


def test_marks_show_the_state_of_each_token():
    panel = sequence_panel(list("abcd"), list("axyd"), list("abzq"))
    assert panel.splitlines() == ["original  abcd", "corrupted axyd", "restored  abzq", "           +x!"]


def test_wide_tokens_stay_aligned():
    panel = sequence_panel(["war ", "and"], ["x", "and"], ["war ", "or"])
    assert panel.splitlines() == ["original  war and", "corrupted x   and", "restored  war or ", "          +   !  "]


def test_the_figure_has_a_curve_for_each_split():
    bounds = {"recovery_low": 0.1, "recovery_high": 0.9, "entropy_low": 0.1, "entropy_high": 0.9}
    bounds |= {"chance": 0.05, "coincidence": 0.08}
    records = [
        record(kind, split, t, recovery=0.5, entropy=0.5, **bounds)
        for kind in ("recovery", "entropy")
        for split in ("train", "test")
        for t in (0.1, 0.5)
    ]
    figure = time_figure(CURVES, records, "8 training rows")
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ["train", "test", "chance", "coincidence"]
    assert [line.get_linestyle() for line in right.get_lines()] == ["-", "--"]
    assert time_figure(CURVES, [], "nothing was measured").axes


def test_a_file_holds_the_pixels_of_the_figure(tmp_path):
    picture = pixels(time_figure(CURVES, [], "nothing was measured"))
    assert picture.shape == (396, 990, 3)
    assert picture.min() < 64, "nothing is drawn"
    write_picture(tmp_path / "figures" / "recovery.png", picture)
    np.testing.assert_array_equal(imread(tmp_path / "figures" / "recovery.png")[..., :3], picture / np.float32(255))
