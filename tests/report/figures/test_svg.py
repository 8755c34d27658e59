"""Figures as inline SVG."""

from xml.etree import ElementTree

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.curves import recovery_drawing
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.report.figures.svg import inline
from uddm_lightning.results.study import Study


def test_ids_are_those_of_the_figure_and_unique(study: Study, verdict: Estimates) -> None:
    with style():
        drawing = recovery_drawing(study, verdict)
    root = ElementTree.fromstring(inline(drawing))  # noqa: S314 the output of the function
    ids = [element.get("id", "") for element in root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith(f"{drawing.name}-") for name in ids)
    targets = [element.get("href", "")[1:] for element in root.iter() if element.get("href")]
    assert targets
    assert set(targets) <= set(ids)
    assert (root.get("role"), root.get("aria-label"), root.get("width")) == ("img", drawing.title, None)


def test_every_marker_shows_its_text_and_colours_are_those_of_the_page(study: Study, verdict: Estimates) -> None:
    with style():
        drawing = recovery_drawing(study, verdict)
    text = inline(drawing)
    assert text.count('class="hit"') == sum(map(len, drawing.tips.values())) > 0
    assert "var(--" in text
    assert "#ffffff" not in text
