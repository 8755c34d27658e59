"""The TensorBoard run whose step axis is log2 N."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support import made_sweeps as sweeps
from uddm_lightning.core.errors import InputError
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.summary_run import axis, write_summary
from uddm_lightning.results.study import Study


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def test_curves_over_log2_n(report):
    found = events(report / "summary" / "DiT")
    study = Study(sweeps.read_table(report / "measurements.csv"))
    tags = set(found.Tags()["scalars"])
    front = {f"transition/{name}/t=0.1" for name in ("recovery/train", "recovery/test", "gap")}
    front |= {f"transition/entropy/{split}/t=0.1" for split in ("train", "test")}
    assert {tag for tag in tags if not tag.startswith("zz_")} == front | {
        f"transition/nelbo/{split}/t=0.05-1.0" for split in ("train", "test")
    }
    assert {tag.split("transition/")[0] for tag in tags} == {"", "zz_"}, "no tag of a run"
    names = {tag.removeprefix("zz_").removeprefix("transition/") for tag in tags}
    times = [f"t={t:g}" for t in sweeps.TIMES]
    assert {f"recovery/{split}/{t}" for split in ("train", "test") for t in times} <= names
    assert {f"entropy/{split}/{t}" for split in ("train", "test", "samples") for t in times} <= names
    assert {f"gap/{t}" for t in times} <= names
    assert {f"nelbo_extrapolated/{split}/t=0.001-1.0" for split in ("train", "test")} <= names
    assert {f"errors_{when}/{s}/{t}" for when in ("before", "after") for s in ("train", "test") for t in times} <= names
    for split in ("train", "test"):
        means = study.means("recovery", "DiT", split, 0.1)
        written = [(event.step, event.value) for event in found.Scalars(f"transition/recovery/{split}/t=0.1")]
        assert written == [(m.size.bit_length() - 1, pytest.approx(m.value, rel=1e-6)) for m in means]
    gap = found.Scalars("transition/gap/t=0.1")[0].value
    assert gap == pytest.approx(sweeps.gap(2, 0.1).value, rel=1e-6)


def test_figures_are_among_its_images(report):
    found = events(report / "summary" / "DiT")
    assert set(found.Tags()["images"]) == {
        *(f"transition/{name}" for name in ("front", "recovery", "gap", "errors", "sentences", "entropy")),
        *(f"zz_transition/{name}" for name in ("samples", "densities", "agreement")),
    }
    assert "corrupted tokens" in found.SummaryMetadata("transition/recovery").summary_description


def test_other_sizes_have_hundredths(models):
    for backbone in ("small", "large"):
        found = events(models / "summary" / backbone)
        assert [event.step for event in found.Scalars("transition/recovery/train/t=0.1")] == [332, 664, 997]
        (text,) = found.Tensors("transition/step axis/text_summary")
        words = text.tensor_proto.string_val[0].decode()
        assert words.startswith("The step is 100 log2 N, rounded")
        assert "664 is 100 rows" in words


def test_the_axis_is_described():
    words, steps = axis([1, 2, 1024])
    assert words == "The step is log2 N, N being the number of training rows."
    assert steps == {1: 0, 2: 1, 1024: 10}


def test_a_new_run_replaces_the_old_one(tmp_path):
    rows = sweeps.measurements(tmp_path)
    folder = tmp_path / "summary" / "DiT"
    write_summary(folder, Study(rows), Estimates({}), "DiT", {})
    (folder / "stale").touch()
    half = [row for row in rows if int(row["train_size"]) < 100]
    write_summary(folder, Study(half), Estimates({}), "DiT", {})
    assert len(events(folder).Scalars("transition/recovery/train/t=0.1")) == 3
    assert not (folder / "stale").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["DiT"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "summary").touch()
    with pytest.raises(InputError, match=r"Cannot write `.*summary/DiT`"):
        write_summary(
            tmp_path / "summary" / "DiT", Study(sweeps.measurements(tmp_path / "x")), Estimates({}), "DiT", {}
        )
