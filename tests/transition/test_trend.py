"""The trend of test recovery over the size, compared with least squares."""

import re

import numpy as np
import pytest
from scipy import stats

from tests.support.transition_tables import SIZES, both
from uddm_lightning.transition import estimate


def test_the_trend_is_that_of_least_squares_where_a_line_fits() -> None:
    test = [0.10, 0.12, 0.15, 0.17, 0.19, 0.215, 0.23]
    (trend,) = estimate(both(SIZES, [0.9] * 7, test))["backbones"]["DiT"]["trend"]
    judge = stats.linregress(np.log2(SIZES), test)
    assert trend["slope"] == pytest.approx(judge.slope, rel=1e-3)
    half = 1.96 * 0.02 / 1.96 / np.sqrt(((np.log2(SIZES) - np.log2(SIZES).mean()) ** 2).sum())
    assert trend["high"] - trend["slope"] == pytest.approx(half, rel=0.01)
    assert trend["deviance_per_df"] < 1
    assert trend["reason"] is None


def test_there_is_no_trend_if_test_recovery_has_a_peak() -> None:
    test = [0.05, 0.10, 0.16, 0.22, 0.26, 0.25, 0.24]
    result = estimate(both(SIZES, [0.9] * 7, test, 0.01))
    (trend,) = result["backbones"]["DiT"]["trend"]
    assert (trend["slope"], trend["low"], trend["high"]) == (None, None, None)
    assert re.search(r"a line does not fit.*is largest at size 512", trend["reason"])
    (short,) = estimate(both((8, 32), [0.9] * 2, [0.1, 0.2]))["backbones"]["DiT"]["trend"]
    assert short["reason"] == "3 sizes are needed"
