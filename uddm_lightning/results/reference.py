"""The corruption time of regimes and headlines, the methods of estimation, and the tolerances."""

import math
from collections.abc import Iterable

REFERENCE_T = 0.1  # of the paper's figures
METHODS = {  # in their order in transition.json and in the report, with their names in sentences
    "recovery": "recovery",
    "entropy": "entropy, train rows",
    "entropy_samples": "entropy, own samples",
    "nelbo": "NELBO",
}
SIZES = {"n_mem": "N_mem", "n_half": "N_half", "n_gen": "N_gen"}  # transition sizes, ascending
TOLERANCE = 0.02  # largest gap of recovery that counts as 0
TOLERANCE_NELBO = 0.05  # the same for the NELBO, in nats per token


def reference(times: Iterable[float]) -> float:
    """Return the corruption time that is nearest to t = 0.1, in ratios; in a tie, the smaller one.

    Args:
        times: at least one time in [0, 1].

    Example:
        >>> reference([0.05, 0.15, 0.5])
        0.15
    """
    return min(times, key=lambda t: (abs(math.log(max(t, 1e-9) / REFERENCE_T)), t))
