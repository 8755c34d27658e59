"""The page in a browser: no console errors, and a correct layout on wide and narrow screens."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]

# headless windows are at least 500 pixels wide, so the page is in a frame of the tested width
FRAME = """<!DOCTYPE html><body><script>
const frame = document.createElement("iframe");
frame.style.cssText = "border:0;width:%dpx;height:%dpx";
frame.srcdoc = %s;
frame.onload = () => {
  const page = frame.contentDocument, found = {};
  for (const svg of page.querySelectorAll("section svg, section .sides")) {
    const box = svg.getBoundingClientRect();
    if (!box.width && svg.matches(".wide, .narrow")) continue; // one of the two is shown
    found[svg.closest("section").id] = [box.width, box.height];
  }
  const dot = [...page.querySelectorAll("circle.hit")].find((hit) => hit.getBoundingClientRect().width);
  const at = dot.getBoundingClientRect();
  const place = { clientX: at.left + at.width / 2, clientY: at.top + at.height / 2 };
  dot.dispatchEvent(new MouseEvent("click", { bubbles: true, ...place }));
  const tip = page.querySelector("#tip"), box = tip.getBoundingClientRect();
  const asked = frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name);
  document.body.dataset.found = JSON.stringify({
    figures: found, width: page.documentElement.scrollWidth, inner: frame.contentWindow.innerWidth, asked,
    tip: tip.hidden ? null : tip.textContent, left: box.left, right: box.right,
  });
};
document.body.append(frame);
</script></body>"""


def visit(path, profile, *flags):
    """Open a page in the browser with a new profile; return the DOM and the console messages."""
    command = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--virtual-time-budget=5000", "--dump-dom", *flags, path.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 800)])
def test_figures_are_visible_and_the_page_has_its_width(report, tmp_path, width, height):
    text = (report / "report.html").read_text(encoding="utf-8")
    quoted = json.dumps(text).replace("</", "<\\/")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % (width, height, quoted), encoding="utf-8")
    dom, complaints = visit(frame, tmp_path / "profile", f"--window-size={max(width, 600)},{height}")
    assert complaints == []
    (found,) = re.findall(r'data-found="([^"]+)"', dom)
    seen = json.loads(unescape(found))
    assert sorted(seen["figures"]) == [
        *("agreement", "densities", "entropy", "errors", "gap", "recovery", "samples", "sentences")
    ]
    for name, (wide, high) in seen["figures"].items():
        assert wide > 200, name
        assert high > 100, name
    assert seen["inner"] == width
    assert seen["width"] <= width, "the page itself must not scroll sideways"
    assert seen["asked"] == [], "the page must not ask for anything"
    assert seen["tip"].startswith("train, N = 2: ")
    assert seen["left"] >= 0
    assert seen["right"] <= width


def test_the_page_opens_from_disk_without_console_messages(models, tmp_path):
    dom, complaints = visit(models / "report.html", tmp_path / "profile")
    assert complaints == []
    for name in (
        "recovery",
        "gap",
        "errors",
        "sentences",
        "entropy",
        "samples",
        "densities",
        "models",
        "agreement",
        "leak",
    ):
        assert f'<section id="{name}">' in dom
    assert 'id="tip"' in dom, "the script has run"
