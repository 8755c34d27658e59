"""Verdicts over steps: sentences, data and the page."""

import json
import math

import pytest

from tests.audit.known import CONTEXT, FACTS, OVERCONFIDENCE, evidence, probed
from uddm_lightning.audit.calibration import GENERALIZING, IN_TRANSITION, MEMORIZING, NOT_LEARNED
from uddm_lightning.audit.series import changes, curve_json
from uddm_lightning.audit.series_page import series_page
from uddm_lightning.audit.verdict import judge_evidence


@pytest.fixture
def series(calibration):
    places = [(NOT_LEARNED, 100), (IN_TRANSITION, 200), (IN_TRANSITION, 300), (MEMORIZING, 1400)]
    return [probed(calibration, step, CONTEXT[name], OVERCONFIDENCE[name]) for name, step in places]


def test_each_change_of_the_verdict_is_a_sentence(series):
    found = changes(series)
    assert found[0].startswith("memorizing at step 1,400, the last, with probability ")
    assert found[1:] == [
        "between step 100 and step 200 the verdict changes from not learned yet to in transition",
        "between step 300 and step 1,400 the verdict changes from in transition to memorizing",
    ]


def test_an_undetermined_step_is_counted_and_ends_no_regime(calibration, series):
    place = (CONTEXT[GENERALIZING] + CONTEXT[NOT_LEARNED]) / 2
    unsure = probed(calibration, 250, place, -3.0)
    assert unsure.verdict.name == "undetermined"
    assert "the verdict is undetermined at 1 of 5 steps" in changes([*series[:2], unsure, *series[2:]])
    assert changes([*series[:2], unsure, *series[2:]])[:3] == changes(series)
    assert changes([unsure])[0].startswith("undetermined (most probably ")


def test_the_data_hold_the_calibration_once(series):
    found = json.loads(json.dumps(curve_json(series), allow_nan=False))
    assert [one["model"]["step"] for one in found["models"]] == [100, 200, 300, 1400]
    assert found["models"][3]["verdict"]["name"] == "memorizing"
    assert all("calibration" not in one for one in found["models"])
    assert found["calibration"]["format"] == 1
    assert found["changes"] == changes(series)


def test_the_page_shows_every_step(series):
    page = series_page(series)
    assert '<span class="regime memorizing">Memorizing</span> at step 1,400, the last' in page
    for one in series:
        cells = f"<td>{one.model['step']:,}</td><td>{one.verdict.name}</td><td>{one.verdict.probability:.2f}</td>"
        assert cells in page
    assert "Own samples of step 1,400 by token entropy" in page


def test_a_page_of_one_step(calibration):
    nothing = evidence(0.05, 0.9, nll_spliced=math.nan, entropy_spliced=math.nan)
    one = probed(calibration, 7, 0.05, 0.9)
    alone = one._replace(evidence=nothing, verdict=judge_evidence(nothing, calibration, FACTS))
    assert "at step 7, the last" in series_page([alone])
