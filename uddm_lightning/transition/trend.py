"""Fit the trend of test recovery over the training size."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from uddm_lightning.results.panel import Panel
from uddm_lightning.stats.intervals import NORMAL


def trend(tests: Panel, t: float) -> dict[str, Any]:
    """Return the slope of test recovery per doubling of the size, if a line fits.

    The line is fitted by generalized least squares, with the covariance of the means over seeds and the variance
    between seeds. It fits unless its deviance is above the 95 % quantile of chi-square.
    """
    row: dict[str, Any] = {"t": t, "slope": None, "low": None, "high": None, "deviance_per_df": None, "reason": None}
    sizes = tests.sizes("test")
    if len(sizes) < 3:
        return row | {"reason": "3 sizes are needed"}
    weights = [tests.weights({"test": 1.0}, size) for size in sizes]
    means_KN = np.array([one.mean(0) for one in weights])
    values = [one @ tests.bounds_3N[0] for one in weights]
    y_K = np.array([value.mean() for value in values])
    error_N = (tests.bounds_3N[2] - tests.bounds_3N[1]) / (2 * NORMAL)
    covariance_KK = means_KN @ (tests.correlation_NN * np.outer(error_N, error_N)) @ means_KN.T
    covariance_KK += np.diag([value.var(ddof=1) / len(value) if len(value) > 1 else 0.0 for value in values])
    covariance_KK += np.diag(np.full(len(sizes), 1e-12 + 1e-6 * float(np.diag(covariance_KK).max())))
    design_K2 = np.stack([np.ones(len(sizes)), np.log2(np.array(sizes, float))], 1)
    inverse_KK = np.linalg.inv(covariance_KK)
    solve_2K = np.linalg.solve(design_K2.T @ inverse_KK @ design_K2, design_K2.T @ inverse_KK)
    residual_K = y_K - design_K2 @ (solve_2K @ y_K)
    df = len(sizes) - 2
    deviance = float(residual_K @ inverse_KK @ residual_K)
    row["deviance_per_df"] = deviance / df
    limit = df * (1 - 2 / (9 * df) + NormalDist().inv_cdf(0.95) * math.sqrt(2 / (9 * df))) ** 3  # Wilson and Hilferty
    if deviance > limit:
        peak = sizes[int(np.argmax(y_K))]
        return row | {
            "reason": f"a line does not fit, with a deviance of {deviance / df:.3g} per degree of freedom; test "
            f"recovery is largest at size {peak}"
        }
    common = sorted(set.intersection(*({*tests.seeds(size, "test")} for size in sizes)))
    if common:
        picked = [[tests.seeds(size, "test").index(seed) for size in sizes] for seed in common]
        slopes_SN = np.array([[w[k] for w, k in zip(weights, places, strict=True)] for places in picked])
        slope = tests.mean(np.einsum("k,skn->sn", solve_2K[1], slopes_SN))
    else:
        slope = tests.sum(solve_2K[1] @ means_KN)
    return row | {"slope": float(slope.value), "low": float(slope.low), "high": float(slope.high)}
