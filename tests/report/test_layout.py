"""The page as it is seen: sizes of labels, contrast, buttons, tips and paper, in a real browser."""

import re

import pytest

from tests.support.browser import BROWSER, Browser
from tests.support.page_checks import OPEN

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")]


def test_other_times_are_shown_on_demand(report, tmp_path):
    seen = "[...document.querySelectorAll('#recovery svg.wide [data-t]')].filter((e) => e.getClientRects().length)"
    with Browser(tmp_path / "on") as page:
        page.open(report / "report.html")
        assert set(page.run(f"{seen}.map((e) => e.dataset.t)")) == {"0.1"}
        page.run("[...document.querySelectorAll('#recovery .chips button')].at(-1).focus()")
        page.press("Enter")
        assert set(page.run(f"{seen}.map((e) => e.dataset.t)")) == {"0.1", "0.5"}
    with Browser(tmp_path / "off", script=False) as page:
        page.open(report / "report.html")
        assert set(page.run(f"{seen}.map((e) => e.dataset.t)")) == {"0.05", "0.1", "0.25", "0.5"}


def test_a_tip_names_at_most_five_points_the_nearest_first(report, tmp_path):
    with Browser(tmp_path) as page:
        page.open(report / "report.html")
        page.run("document.querySelectorAll('#recovery .chips button[aria-pressed=false]').forEach((e) => e.click())")
        told = page.run("""(() => {
          const dot = document.querySelectorAll("#recovery svg.wide circle.hit")[14];
          dot.scrollIntoView({ block: "center" });
          const at = dot.getBoundingClientRect(), says = dot.dataset.says || dot.querySelector("title").textContent;
          const place = { clientX: at.left + at.width / 2, clientY: at.top + at.height / 2 };
          dot.dispatchEvent(new MouseEvent("click", { bubbles: true, ...place }));
          return [says, document.getElementById("tip").textContent];
        })()""")
        lines = told[1].split("\n")
        assert 2 <= len(lines) <= 5
        assert lines[0] == told[0]


def test_terms_are_explained_by_keys(models, tmp_path):
    with Browser(tmp_path) as page:
        page.open(models / "report.html")
        page.run(OPEN)
        page.run("document.querySelector('dfn').focus()")
        assert page.run("document.getElementById('tip').textContent").endswith(".")
        page.press("Escape")
        assert page.run("document.getElementById('tip').hidden")


def test_the_page_prints_on_paper(report, tmp_path):
    with Browser(tmp_path / "profile") as page:
        page.open(report / "report.html")
        page.pdf(tmp_path / "page.pdf")
        page.resize(673, 950)  # pixels between the margins of A4
        page.media("print")
        shown = "[...document.querySelectorAll('details:not([open])')].filter((e) => e.getClientRects().length).length"
        assert page.run(shown) == 0, "nothing on paper can be unfolded"
        assert page.run("document.querySelector('.replay .unseen').innerText").startswith("Trained on ")
        assert page.run("document.querySelector('.replay .unseen').getBoundingClientRect().height") > 10
        assert page.run("document.documentElement.scrollWidth") <= 673
        place = (
            "(() => {{ const r = document.querySelector('{}').getBoundingClientRect(); return [r.left, r.right]; }})()"
        )
        assert page.run(place.format(".hero svg.wide"))[1] > 600, "the first figure takes the width of the paper"
        left, right = page.run(place.format("#recovery svg.narrow"))
        assert right - left > 200
        assert page.run(place.format("#recovery figcaption"))[0] > right, "a caption stands beside its figure"
    text = (tmp_path / "page.pdf").read_bytes()
    assert text.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", text)) <= 6, "pages hold two figures"
