"""The beginning of the page."""

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.hero import hero
from uddm_lightning.results.study import Study


def test_the_answer_stands_beside_the_figure_above_the_regimes(study: Study, verdict: Estimates) -> None:
    made = hero(study, verdict, "<svg/>", {"why": "the reason"})
    assert made.index('<p class="answer">') < made.index("<svg/>") < made.index('<ul class="strip">')
    assert made.count("<li><b>") == made.count('<td class="why">') == len(sweeps.SIZES)
    assert '<dfn tabindex="0" data-says="the reason">why</dfn>' in made


def test_without_regimes_the_page_says_so(study: Study) -> None:
    assert "The regimes of the sizes were not judged." in hero(study, Estimates({}), "", {})


def test_an_oracle_is_compared_in_a_sentence(oracle_rows: list[dict[str, str]], verdict: Estimates) -> None:
    made = hero(Study(oracle_rows), verdict, "", {})
    assert "Recovery of test rows at t = 0.1:" in made
    assert "An overconfident model can recover more" in made
