"""The style sheet and the script of the report."""

from importlib import resources

from uddm_lightning.report.figures.drawing import palette


def style_sheet() -> str:
    """Return the CSS, with the colours of the figures for light and for dark pages."""
    light, dark = ("".join(f"--{name}: {pair[i]}; " for name, pair in palette().items()) for i in (0, 1))
    colours = f":root {{ {light}}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"
    return colours + _read("report.css")


def script() -> str:
    """Return the JavaScript that shows the values of points, and that of the interactive sentences."""
    return _read("report.js") + _read("sentences.js")


def _read(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")
