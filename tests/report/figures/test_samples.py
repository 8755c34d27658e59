"""The figure of samples."""

import numpy as np

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.samples import peak_sentences, samples_drawing
from uddm_lightning.results.study import Study


def test_samples_are_shares_perplexity_unigram_entropy_and_the_entropy_gap(tmp_path):
    study = Study(sweeps.measurements(tmp_path))
    with style():
        drawing = samples_drawing(study)
    shares, perplexity, unigram, gap = drawing.figure.axes
    memorized, spurious, novel = [line.get_ydata() for line in shares.get_lines()][:3]
    np.testing.assert_allclose(np.add(np.add(memorized, spurious), novel), 1.0)
    np.testing.assert_allclose(memorized, [round(64 * sweeps.memorized(size)) / 64 for size in sweeps.SIZES])
    own, test, far = perplexity.get_lines()
    assert [line.get_linestyle() for line in (own, test, far)] == ["-", "--", ":"]
    assert len(far.get_xdata()) == 5, "novel samples have a perplexity of their own, where there are any"
    np.testing.assert_allclose(test.get_ydata(), 4.0)
    np.testing.assert_allclose(
        unigram.get_lines()[0].get_ydata(), [2.5 - 0.1 * sweeps.memorized(size) for size in sweeps.SIZES]
    )
    gaps = study.entropy_gaps("DiT", study.reference)
    np.testing.assert_allclose(gap.get_lines()[1].get_ydata(), [mean.value for mean in gaps])
    assert "critic" in drawing.caption
    assert "here 64" in drawing.caption
    assert drawing.table.head[3:6] == ["memorized", "spurious", "novel"]
    assert len(drawing.table.rows) == 2 * len(sweeps.SIZES)


def test_without_samples_there_is_no_figure_of_them(tmp_path):
    with style():
        assert samples_drawing(Study(sweeps.measurements(tmp_path, kinds=("recovery",)))) is None
        bare = samples_drawing(Study(sweeps.measurements(tmp_path, kinds=("samples",))))
    assert len(bare.figure.axes) == 3  # no entropy, no gap


def test_a_peak_of_the_perplexity_is_shown_or_not(tmp_path):
    """The made-up perplexity peaks at N_half, by 5 above both ends, with intervals of 0.5 on either side."""
    rows = sweeps.measurements(tmp_path)
    with style():
        (line,) = samples_drawing(Study(rows), Estimates(sweeps.transition())).remarks
    assert "DiT: the generative perplexity of own samples is largest at N = " in line
    assert "this interval lies above those of the smallest and of the largest size. N_half by recovery is 64 (" in line
    wide = [{**row, "generative_perplexity_high": "20.0"} if row["generative_perplexity"] else row for row in rows]
    (line,) = peak_sentences(Study(wide))
    assert line.endswith("this interval lies not above those of the smallest and of the largest size.")
    assert not peak_sentences(Study([row for row in rows if row["train_size"] in ("2", "8")]))
    for sizes, end in ((("2", "8", "32"), "larger"), (("128", "512", "2048"), "smaller")):
        (line,) = peak_sentences(Study([row for row in rows if row["train_size"] in sizes]))
        assert line.endswith(f"; no {end} size was measured.")
