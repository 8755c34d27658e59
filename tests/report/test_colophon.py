"""The end of the page."""

from tests.report.conftest import HOSTILE
from uddm_lightning.report.colophon import colophon
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.results.study import Study


def test_notes_and_facts_are_listed_and_escaped(study: Study, verdict: Estimates) -> None:
    made = colophon(study, verdict, ["The figure is missing."], {"corpus": HOSTILE}, {"one": "same", "two": "same"})
    assert "<li>The figure is missing.</li>" in made
    assert HOSTILE not in made
    assert "<dt>one, two</dt><dd>same</dd>" in made, "terms of one definition stand together"
    assert "<dt>models</dt><dd>DiT (1,000 parameters)</dd>" in made
    assert "ancestral on " in made
    assert "captions.tex" in made
    assert "captions.tex" not in colophon(study, verdict, [], {}, {}, has_captions=False)
    assert "<summary>Terms</summary>" not in colophon(study, verdict, [], {}, {})
