"""The ratio of N_half by recovery and by entropy."""

import pytest

from tests.support.transition_tables import FINE, SIZES, TEST, TRAIN, both, entropies
from uddm_lightning.transition import estimate


@pytest.mark.parametrize(
    ("entropy", "half", "agree", "reason"),
    [
        ([0.01, 0.02, 0.4, 1.5, 1.7, 1.72, 1.71], 0.015, True, None),
        ([0.01, 1.5, 1.7, 1.7, 1.7, 1.72, 1.71], 0.015, False, None),
        ([0.01, 0.02, 0.03, 1.69, 1.7, 1.72, 1.71], 0.015, None, "the ratio may be"),
        ([0.01, 0.02, 0.4, 1.0, 1.2, 1.4, 1.71], 0.015, None, "N_half of entropy is null"),
    ],
)
def test_methods_agree_only_where_their_ratio_is_known(
    entropy: list[float], half: float, agree: bool | None, reason: str | None
) -> None:
    rows = both(SIZES, TRAIN, TEST, FINE) + entropies(entropy, half=half)
    (found,) = estimate(rows)["backbones"]["DiT"]["agreement"]
    assert found["agree"] is agree
    assert found["reason"] is None if reason is None else reason in found["reason"]
