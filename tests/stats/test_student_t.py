"""Quantiles of Student's t against scipy."""

import numpy as np
import pytest
from scipy import stats

from uddm_lightning.stats.student_t import student_t, student_t_array


def test_student_quantile_agrees_with_scipy() -> None:
    for df in [*range(1, 200), 1000, 10**4, 10**5]:
        for level in (0.97, 0.975, 0.98):
            assert student_t(df, level) == pytest.approx(stats.t.ppf(level, df), rel=1e-7)


def test_fractional_degrees_of_freedom_are_rounded_down() -> None:
    found = student_t_array(np.array([[0.3, 2.9], [3.0, 40.0]]), 0.975)
    assert found.tolist() == [[student_t(1), student_t(2)], [student_t(3), student_t(40)]]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"`df` must be at least 1, got 0"):
        student_t(0)
    with pytest.raises(ValueError, match=r"`level` must be in \(0.9, 0.99\), got 0.5"):
        student_t(3, 0.5)
