"""Figures of single sequences."""

from tests.report.test_sentences import sequence
from uddm_lightning.report import sentences as text
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.sequences import densities_drawing, sentences_drawing


def test_foreign_scripts_and_ids_without_text_are_drawn():
    one = sequence(8, "漢字", "漢x", "漢字") | {"t": 0.1}
    for name in ("x0", "xt", "xhat"):
        one = {**one, f"{name}_text": None} if name == "xhat" else one
    sentence = text.choose(text.with_readable_texts([one]), [8], "train", 0.1)
    assert sentence is not None
    with style():
        drawing = sentences_drawing([sentence], "DiT")
        drawing.figure.canvas.draw()
    assert drawing.table.rows[0][-1].startswith("漢")
    assert drawing.table.rows[2][-1].split() == [str(ord("漢")), str(ord("字"))]


def test_densities_count_corrupted_tokens_only():
    entropy = [0.0, 0.1, 2.0, 1.0]
    rows = [sequence(8, "abcd", "axyd", "abzq", entropy=entropy)]
    with style():
        drawing = densities_drawing(rows, [8], 0.25, "DiT")
        assert densities_drawing([sequence(8, "ab", "ab", "ab")], [8], 0.25, "DiT") is None
    assert drawing is not None
    assert [row[:4] for row in drawing.table.rows] == [
        ["train", "8", "recovered", "1"],
        ["train", "8", "not recovered", "1"],
    ]
    assert [row[5] for row in drawing.table.rows] == ["0.100", "2.000"]
