"""The figures of basins, margins and trajectories, and their captions for several chains."""

import numpy as np
import pyarrow as pa
import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.report import write_report
from uddm_lightning.report.figures.basins import basins_drawing, margins_drawing
from uddm_lightning.report.figures.chains import chains_table
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.trajectories import STATISTICS, trajectories_drawing
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import BASINS, read_table, update_table
from uddm_lightning.transition import estimate

SIZES = (8, 64, 512)
NOTHING = 0.0195
TIMES = (0.00001, 0.5, 1.0)


def more(folder, seeds=(0,), backbones=("DiT",)):
    """Return the rows of a sweep with all measurements, and a table of single rows."""
    sweeps.measurements(folder, SIZES, seeds, backbones)
    records, single = [], []
    for backbone in backbones:
        for size in SIZES:
            for seed in seeds:
                run = {"run": f"{backbone}-n{size}-s{seed}", "backbone": backbone, "train_size": size, "seed": seed}
                common = {
                    **run,
                    "parameters": 1000,
                    "step": 200,
                    "weights": "ema",
                    "sampler": "ancestral",
                    "sampler_steps": 50,
                }
                held = sweeps.memorized(size) + 0.01 * seed
                for t in TIMES:
                    values = {name: t * (1 - held) + index for index, name in enumerate(STATISTICS)}
                    bounds = {"entropy_low": values["entropy"] - 0.1, "entropy_high": values["entropy"] + 0.1}
                    fields = {"metric": "trajectory", "split": "samples", "t": t, "t_min": 0.05, **values, **bounds}
                    records.append({**common, **fields})
                for split, share in (("train", 1.0), ("test", 0.3), ("random", 0.0)):
                    ends = {"critical_t_low": share * held / 2, "critical_t_high": share * held}
                    value = {"critical_t": 0.7 * share * held, **ends, "n_draws": 8, "critical_t_identity": NOTHING}
                    records.append({**common, "metric": "basin", "split": split, **value})
                    fixed = {
                        "n_draws": 64,
                        "recovery": 0.02 + share * held,
                        "fixed_tokens": share * held,
                        "fixed_rows": 0.0,
                    }
                    records.append({**common, "metric": "recovery", "split": split, "t": 0.1, **fixed})
                    other = {"sampler": "argmax-posterior", "recovery": 0.5, "fixed_tokens": 0.9}
                    records.append({**common, "metric": "recovery", "split": split, "t": 0.1, **other})
                    for place in range(8):
                        keys = {"place": place, "row_id": place % 4, "split": split, "step": 200, "weights": "ema"}
                        found = {"sampler": "ancestral", "sampler_steps": 50, "critical_t": place / 8 * share}
                        found |= {"critical_t_identity": NOTHING, "times": [0.02, 0.1, 1.0], "led": [0, 8, 8]}
                        found |= {"returned": [0, round(8 * share * held), place // 4]}
                        single.append({**run, **keys, **found, "margin": [share - 0.5, float("inf"), place % 4 - 1.5]})
    update_table(folder / "measurements.csv", records)
    fields = [("run", pa.string()), ("backbone", pa.string()), ("train_size", pa.int64()), ("seed", pa.int64())]
    return read_table(folder / "measurements.csv"), pa.Table.from_pylist(single, pa.schema([*fields, *BASINS]))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    rows, single = more(tmp_path_factory.mktemp("basins"))
    return Study(rows), single


def test_basins_show_single_rows_and_their_mean(study):
    study, single = study
    rows = study.rows_behind(single, "basin", "DiT")
    assert len(rows) == 3 * 3 * 8
    with style():
        drawing = basins_drawing(study, rows, list(SIZES), "DiT")
    *panels, below = drawing.figure.axes
    assert [axes.get_title(loc="left").strip() for axes in panels[::3]] == [
        f"{s}, N = 8" for s in ("train", "test", "random")
    ]
    assert panels[0].texts[0].get_text() == "t_c 0.438, 8 rows"
    *thin, mean, half, nothing = panels[0].get_lines()
    assert len(thin) == 8
    np.testing.assert_allclose(mean.get_xdata(), [0.1, 1.0])  # no noise left a row at 0.02
    np.testing.assert_allclose(mean.get_ydata(), [round(8 * sweeps.memorized(8)) / 8, 0.0625])
    assert set(half.get_ydata()) == {0.5}
    assert set(nothing.get_xdata()) == {NOTHING}
    assert set(below.get_lines()[-1].get_ydata()) == {NOTHING}
    assert drawing.remarks[0].startswith(
        "train rows at N = 512: the interval of the mean t_c, 0.011 (0.008 to 0.015), "
    )
    assert drawing.remarks[0].endswith(" lies below the level of a chain that does nothing, 0.0195.")
    means = [mean.value for mean in study.column("critical_t", "basin", "DiT", "train")]
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), means)
    assert drawing.table.rows[0][:3] == ["train", "8", "8"]
    assert drawing.table.rows[0][-3:] == ["0.0195", "1", "0"]
    assert {len(row) for row in drawing.table.rows} == {len(drawing.table.head)}


def test_margins_count_each_row_once_and_show_the_share_above_zero(study):
    study, single = study
    with style():
        drawing = margins_drawing(study, study.rows_behind(single, "basin", "DiT"), list(SIZES), "DiT")
    first = drawing.table.rows[0]
    assert first[:3] == ["train", "8", "12"], "four rows of three tokens, though drawn twice"
    assert first[-1] == "0.833"
    lines = drawing.figure.axes[-1].get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]
    np.testing.assert_allclose(lines[0].get_ydata(), [sweeps.memorized(size) for size in SIZES])


def test_trajectories_run_from_noise_to_text(study):
    study, _ = study
    with style():
        drawing = trajectories_drawing(study)
    panels = [axes for axes in drawing.figure.axes if axes.axison]  # one place holds the legend
    assert [axes.get_title(loc="left") for axes in panels] == list(STATISTICS.values())
    for index, axes in enumerate(panels):
        assert axes.get_xlim()[0] > axes.get_xlim()[1]
        lines = axes.get_lines()
        assert len(lines) == len(SIZES)
        held = sweeps.memorized(8)
        np.testing.assert_allclose(lines[0].get_ydata(), [t * (1 - held) + index for t in TIMES[::-1]])
    assert "below t = 0.05" in drawing.caption
    assert len(drawing.table.rows) == len(SIZES) * len(TIMES)


def test_the_first_chain_is_drawn_and_the_others_are_listed(study, tmp_path):
    study, _ = study
    assert {row["sampler"] for row in study.rows if row["metric"] == "recovery"} == {"ancestral"}
    table = chains_table(study)
    assert {row[4] for row in table.rows} == {"ancestral, 50 steps", "argmax-posterior, 50 steps"}
    assert chains_table(Study(sweeps.measurements(tmp_path, SIZES))) is None
    rows, _ = more(tmp_path)
    notes = estimate(rows)["notes"]
    assert "DiT: of the chains ancestral, argmax-posterior only ancestral is used." in notes


def test_runs_with_another_recovery_chain_alone_are_still_reported(tmp_path):
    rows = [
        {**row, "sampler": "argmax-posterior"} if row["metric"] == "recovery" else row
        for row in sweeps.measurements(tmp_path, SIZES)
    ]
    study = Study(rows)
    assert study.means("recovery", "DiT", "train", 0.1)
    assert study.means("entropy", "DiT", "samples", 0.1)


@pytest.mark.slow
def test_all_figures_are_on_the_page(tmp_path):
    rows, single = more(tmp_path, seeds=(0, 1), backbones=("a", "b"))
    write_report(tmp_path, rows, sweeps.transition(("a", "b")), None, {}, single)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("basins", "margins", "trajectories"):
        assert f'<section id="{name}">' in page
        assert {path.suffix for path in (tmp_path / "figures").glob(f"{name}.*")} == {".png", ".svg", ".pdf"}
    assert "Recovery by other chains" in page
    assert "Rows of uniform random tokens" in page
    write_report(tmp_path, sweeps.measurements(tmp_path / "plain", SIZES), sweeps.transition(), None, {})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Critical corruption was not measured" in page
    assert "No sampling chain was observed" in page
    assert not list((tmp_path / "figures").glob("basins.*")), "figures of an earlier report are gone"
