"""TokenRecovery, compared with direct counts."""

import pytest

from tests.support.metrics import LENGTH, ROWS, feed, toy
from uddm_lightning.metrics import TokenRecovery
from uddm_lightning.stats.intervals import rate_interval


def test_recovery_equals_direct_counts() -> None:
    d = toy()
    tally: dict[int, list[int]] = {}
    draws = clean = unstable = exact = touched = 0
    chance = 0.0
    for b in range(ROWS):
        if (row := int(d["rows"][b])) < 0:
            continue
        draws += 1
        own = tally.setdefault(row, [0, 0])
        places = [i for i in range(LENGTH) if d["counted"][b, i]]
        wrong = corrupted = 0
        for i in places:
            right = bool(d["xhat"][b, i] == d["x0"][b, i])
            wrong += not right
            if d["xt"][b, i] != d["x0"][b, i]:
                own[0] += right
                own[1] += 1
                corrupted += 1
                chance += float(d["real"][b, i] / 2)
            else:
                clean += 1
                unstable += not right
        touched += bool(corrupted)
        exact += bool(corrupted) and not wrong
    successes, trials = zip(*tally.values(), strict=True)
    metric = TokenRecovery()
    feed(metric, d)
    result = metric.compute()
    assert (result.n_rows, result.n_draws) == (len(tally), draws)
    assert (result.n_corrupted, result.n_recovered) == (sum(trials), sum(successes))
    assert (result.n_clean, result.n_clean_changed, result.n_exact) == (clean, unstable, exact)
    assert result.chance == pytest.approx(chance / sum(trials))
    assert result.clean_change_rate == unstable / clean
    assert result.exact_match_rate == exact / touched
    assert (result.recovery, result.recovery_low, result.recovery_high) == pytest.approx(
        rate_interval(successes, trials)
    )
    assert all(type(value) is int for name, value in result._asdict().items() if name.startswith("n_"))
