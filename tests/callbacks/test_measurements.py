"""The summary that the terminal shows after each validation."""

import math

from tests.support.probes import PROBES, record
from uddm_lightning.callbacks.measurements import summary


def test_the_summary_is_one_small_table():
    costs = {"clean_change_rate": 0.05, "errors_before": 0.1, "errors_after": 0.125}
    text = summary(
        PROBES,
        [
            record(recovery=0.5, chance=0.02),
            record(split="test", recovery=0.25, chance=0.03, coincidence=0.08, **costs),
            record("entropy", entropy=0.125),
            record("entropy", split="test", entropy=math.nan),
            record("nelbo", split="test", t=None, nelbo=2.1, t_min=0.05, t_max=1.0, pool_unigram_entropy=2.75),
            record("nelbo_extrapolated", split="test", t=None, nelbo=9.1, t_min=0.001, t_max=1.0),
        ],
    )
    lines = text.splitlines()
    assert lines[0] == "step 10, 8 training rows, ema weights, ancestral chain on 50 steps"
    assert lines[2].split() == ["0.1", "0.500", "0.250", "0.030", "0.080", "0.125", "-"]
    assert lines[4].split() == ["0.1", "0.050", "0.100", "0.125"]
    assert lines[5].strip() == "NELBO on [0.05, 1], nats per token: test 2.100; unigram entropy of the pool 2.750"
    assert "NELBO on [0.001, 1] (extrapolated: wider than the range of training), nats per token: test 9.1" in lines[6]
    assert len(lines) == 7
    for header, row, words in (
        (lines[1], lines[2], {"train": "0.500", "test": "0.250", "chance": "0.030", "coincidence": "0.080"}),
        (lines[3], lines[4], {"changed": "0.050", "before": "0.100", "after": "0.125"}),
    ):
        for word, value in words.items():
            end = header.index(word) + len(word)
            assert row[:end].split()[-1] == value, "columns stand under their names"


def test_the_summary_shows_the_bayes_argmax_and_a_falling_nelbo():
    oracle = record(split="test", recovery=0.25, bayes_argmax=0.5)
    bound = record("nelbo", split="test", t=None, nelbo=2.1, t_min=0.05, t_max=1.0, nelbo_falling=True)
    lines = summary(PROBES, [oracle, bound]).splitlines()
    assert lines[3].endswith("recovery of the best estimate")
    assert lines[4].endswith(" 0.500")
    assert lines[-1] == "   the NELBO of test rows was still falling over the last three validations"
    assert "falling" not in summary(PROBES, [bound | {"nelbo_falling": None}])
