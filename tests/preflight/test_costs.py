"""Lines on hours, memory and price."""

from tests.preflight.conftest import SLOW, V
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import estimate_run


def test_lines(tiny):
    run = estimate_run(tiny, V, SLOW)._replace(gpu_hours=2.0)
    wide = run._replace(gpu_hours=10.0)
    found = dict(gpu_lines(run, [SweepRuns(54, run), SweepRuns(54, wide)], SLOW, 3.0))
    assert found["sweep"] == "108 runs, about 648 slow hours, estimated as above"
    assert found["price"] == "about 6 for the run, 1,944 for the sweep, at 3 for a GPU hour"
    assert list(dict(gpu_lines(run, [], SLOW, None))) == ["GPU memory", "GPU time"]
    assert list(dict(gpu_lines(run, [SweepRuns(2, None)], SLOW, None))) == ["GPU memory", "GPU time"]
    assert "not limited" in dict(gpu_lines(run._replace(gpu_hours=None), [], SLOW, 1.0))["GPU time"]
