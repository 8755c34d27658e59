"""The page as it is seen: sizes of labels, contrast, buttons, tips and paper, in a real browser."""

import re

import pytest

from tests.support.browser import BROWSER, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")]

OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
SMALLEST = """Math.min(...[...document.querySelectorAll("figure svg text")].filter((e) => e.getClientRects().length)
    .map((e) => parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getCTM().a, e.getCTM().b)))"""
# what a reader sees: colours over all backgrounds below them, painted on a canvas
CONTRAST = """(() => {
  const canvas = document.createElement("canvas"), paint = canvas.getContext("2d", { willReadFrequently: true });
  const pixel = (...colours) => {
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const e of document.querySelectorAll("main *")) {
    const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const below = [];
    for (let one = e; one; one = one.parentElement) below.unshift(getComputedStyle(one).backgroundColor);
    const style = getComputedStyle(e), ink = e.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(pixel("#fff", ...below)), light(pixel("#fff", ...below, ink))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName, e.textContent.slice(0, 20)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(report, tmp_path, scheme):
    with Browser(tmp_path, scheme=scheme) as page:
        page.open(report / "report.html")
        page.run(OPEN)
        assert page.run(CONTRAST)[0] >= 4.5, page.run(CONTRAST)
        assert page.messages() == []


def test_labels_are_large_enough_on_a_phone_and_nothing_overflows(report, models, tmp_path):
    with Browser(tmp_path) as page:
        for folder in (report, models):
            for width in (1280, 768, 390):
                page.resize(width, 900)
                page.open(folder / "report.html")
                page.run(OPEN)
                assert page.run("document.documentElement.scrollWidth") <= width
                assert page.run(SMALLEST) >= 10.9


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
        widths = "[...document.querySelectorAll('#recovery svg.wide')].map((e) => e.getBoundingClientRect().width)"
        assert min(page.run(widths)) > 600, "a figure takes the width of the paper"
    text = (tmp_path / "page.pdf").read_bytes()
    assert text.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", text)) <= 15
