"""The page of a probe."""

import pytest

from tests.audit.known import CONTEXT, OVERCONFIDENCE, probed
from uddm_lightning.audit.calibration import MEMORIZING, NOT_LEARNED
from uddm_lightning.audit.probe_page import probe_page


@pytest.mark.parametrize("regime", [MEMORIZING, NOT_LEARNED])
def test_the_page_begins_with_the_verdict(calibration, regime):
    found = probed(calibration, 7, CONTEXT[regime], OVERCONFIDENCE[regime])
    page = probe_page(found)
    name = regime.replace(" ", "-")
    verdict = f'<span class="regime {name}">{regime.capitalize()}</span>: probability {found.verdict.probability:.2f}.'
    assert page.index(verdict) < page.index("<h2>Evidence</h2>") < page.index("<h2>What was measured</h2>")
    others = page[page.index("Other regimes: ") :].partition("</p>")[0]
    assert others.count(",") == 2
    assert regime not in others
    assert page.count("<figure") == 3


def test_an_undetermined_verdict_names_the_most_probable_regime(calibration):
    unsure = probed(calibration, 7, 0.85, -3.0)
    assert unsure.verdict.name == "undetermined"
    assert f"Undetermined, most probably {unsure.verdict.most_probable}" in probe_page(unsure)
