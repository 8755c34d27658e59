"""Convert a figure to inline SVG: colours of the page, texts at the markers, unique ids."""

import re
from xml.etree import ElementTree

from uddm_lightning.report.figures.drawing import Drawing, palette

_REACH = 7  # radius around a marker that answers, in points
_FONT = re.compile(r"(font: (?:(?:bold|italic|oblique|\d+) )*[\d.]+px )[^;]+")


def inline(drawing: Drawing, is_narrow: bool = False) -> str:
    """Return the SVG of a drawing for the inside of an HTML page, if asked for in the width of one column."""
    prefix = f"{drawing.name}-narrow" if is_narrow else drawing.name
    # this process wrote the text a moment ago
    text = drawing.narrow_svg if is_narrow else drawing.svg
    root = ElementTree.fromstring(text)  # noqa: S314 our own output, see above
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({name: _own(prefix, name, value) for name, value in attributes.items()})
    for element in [child for child in root if child.tag == "metadata"]:
        root.remove(element)
    for group in root.iter("g"):
        gid = group.get("id", "").removeprefix(f"{prefix}-")
        if gid in drawing.tips:
            _add_tips(group, drawing.tips[gid])
        if gid in drawing.times:
            group.set("data-t", f"{drawing.times[gid]:g}")
    _single(root)
    width, height = (float(root.attrib.pop(side, "0pt").removesuffix("pt")) * 4 / 3 for side in ("width", "height"))
    root.set("role", "img")
    root.set("aria-label", drawing.title)
    root.set("class", "narrow" if is_narrow else "wide" if drawing.is_narrow else "only")
    root.set("style", f"--natural: {width:.0f}px; --high: {height:.0f}px")
    return ElementTree.tostring(root, encoding="unicode")


def _single(root: ElementTree.Element) -> None:
    """Replace ids that several panels share by classes: an id is unique in a page."""
    seen = set()
    for element in root.iter():
        name = element.get("id")
        if name is not None and name in seen:
            element.set("class", element.attrib.pop("id"))
        seen.add(name)


def _own(prefix: str, name: str, value: str) -> str:
    """Return an attribute with the page's colours and fonts, and with ids that no other figure uses."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return value.replace("#", f"#{prefix}-", 1)
    value = value.replace("url(#", f"url(#{prefix}-")
    if name in ("style", "fill", "stroke"):
        value = value.replace("fill: #ffffff", "fill: none")  # the page is the background
        for variable, (light, _) in palette().items():
            value = value.replace(light, f"var(--{variable})")
        value = _FONT.sub(r"\1var(--font)", value)
    return value


def _add_tips(group: ElementTree.Element, texts: list[str]) -> None:
    """Add a wide transparent circle with its text to every marker of a line."""
    markers = list(group.iter("use"))
    assert len(markers) == len(texts), f"{len(markers)} markers for {len(texts)} texts"
    for marker, text in zip(markers, texts, strict=True):
        place = {"cx": marker.get("x", "0"), "cy": marker.get("y", "0")}
        circle = ElementTree.SubElement(group, "circle", {"class": "hit", **place, "r": str(_REACH)})
        ElementTree.SubElement(circle, "title").text = text
