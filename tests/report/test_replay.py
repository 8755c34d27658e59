"""The interactive sentences in a real browser, driven by keys."""

import pytest

from tests.support.browser import BROWSER, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")]

FOCUSED = "document.activeElement.dataset.part || document.activeElement.tagName"
SAID = "document.querySelector('[data-part=now]').textContent"
RESTORED = "document.querySelector('[data-split=test] [data-line=restored]').textContent"


def test_the_figure_is_worked_by_keys(report, tmp_path):
    with Browser(tmp_path) as page:
        page.open(report / "report.html")
        page.run("document.querySelector('[data-part=size]').focus()")
        said = page.run(SAID)
        assert said.startswith("Trained on 128 rows, t = 0.25. Training row: ")
        assert "Unseen row: " in said
        before = page.run(RESTORED)
        page.press("ArrowRight")
        assert page.run(SAID).startswith("Trained on 512 rows")
        assert page.run("document.querySelector('[data-part=size]').getAttribute('aria-valuetext')") == "512 rows"
        assert page.run(RESTORED) != before
        page.press("Tab", "ArrowLeft")
        assert page.run(FOCUSED) == "time"
        assert "t = 0.1." in page.run(SAID)
        page.press("Tab")
        assert page.run(FOCUSED) == "play"
        page.press("Enter")
        assert page.run("document.querySelector('[data-part=play]').textContent") == "Stop"
        assert page.run("document.querySelector('[data-part=now]').getAttribute('aria-live')") == "off"
        page.press("Enter")
        assert page.run("document.querySelector('[data-part=play]').textContent") == "Play over N"
        page.press("Tab")
        original = "document.querySelector('[data-split=test] [data-line=original]').textContent"
        before = page.run(original)
        page.press(" ")
        assert page.run(original) != before
        page.press("Tab", " ")
        assert page.run(FOCUSED) == "shade"
        assert not page.run("document.querySelector('[data-part=shade]').checked")
        assert not page.run("document.querySelectorAll('.tokens [style]').length")
        assert page.messages() == []
        assert page.requests() == [(report / "report.html").as_uri()]


def test_states_are_told_apart_without_colour(report, tmp_path):
    look = """[...document.querySelectorAll('.key i')].map((i) => { const style = getComputedStyle(i);
        return [style.textDecorationStyle, style.textDecorationLine, style.outlineStyle].join(" "); })"""
    with Browser(tmp_path) as page:
        page.open(report / "report.html")
        assert len(set(page.run(look))) == 4


def test_without_javascript_and_on_paper_a_chosen_state_is_shown(report, tmp_path):
    with Browser(tmp_path / "off", script=False) as page:
        page.open(report / "report.html")
        page.pdf(tmp_path / "off.pdf")
        assert page.run("document.querySelector('.replay').hidden")
        assert page.run("document.querySelector('.still').innerText").count("corrupted tokens restored") == 6
    with Browser(tmp_path / "on") as page:
        page.open(report / "report.html")
        page.run("matchMedia('print').matches")
        assert not page.run("document.querySelector('.replay').hidden")
        assert page.run("document.querySelector('.still').hidden")
