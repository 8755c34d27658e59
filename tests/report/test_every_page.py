"""Pages of every kind of sweep, at every width and in both colour schemes, in a real browser."""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support import made_sweeps as sweeps
from tests.support.browser import BROWSER, Browser
from tests.support.page_checks import CONTRAST, FLAWS, OPEN, REACHABLE, SMALLEST
from uddm_lightning.commands import demo
from uddm_lightning.report import write_report
from uddm_lightning.sweeps.results import write_results
from uddm_lightning.transition import estimate

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")]

PIECES = ["the", "[CLS]", "##ing", "constitution", ".", "##s", "of", "plenipotentiary", "a", "government", "##ed", "we"]
EVERY_TIME = "document.querySelectorAll('.chips button[aria-pressed=false]').forEach((e) => e.click())"
TOKENS = "[...document.body.innerText.matchAll(/##[a-z]+|.CLS./g)].map((found) => found[0])"
WIDTHS = (1280, 768, 390)


def demo_page(folder: Path) -> None:
    demo._copy_tables(folder)
    write_results(folder, page_only=True)


def page_of(folder: Path, rows: list[dict[str, str]], sequences: Any) -> None:
    write_report(folder, rows, estimate(rows), sequences, {"command": "uddm sweep -c " + "a/" * 60}, page_only=True)


def words_page(folder: Path) -> None:
    sizes = (8, 64, 512)
    page_of(folder, sweeps.measurements(folder, sizes), sweeps.sequences(sizes, alphabet=PIECES))


def one_size_page(folder: Path) -> None:
    """A sweep of which one run has measured."""
    page_of(folder, sweeps.measurements(folder, (128,)), sweeps.sequences((128,)))


def not_learned_page(folder: Path) -> None:
    sizes = (8, 128, 2048)
    rows = sweeps.measurements(folder, sizes)
    for row in rows:
        if row["metric"] == "recovery":
            row |= {"recovery": "0.01", "recovery_low": "0.0", "recovery_high": "0.2"}
    page_of(folder, rows, sweeps.sequences(sizes))


PAGES = {page.__name__: page for page in (demo_page, words_page, one_size_page, not_learned_page)}


@pytest.fixture(scope="module", params=[*PAGES, "report", "models"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one kind of sweep."""
    if request.param not in PAGES:
        folder: Path = request.getfixturevalue(request.param)
    else:
        folder = tmp_path_factory.mktemp(request.param)
        PAGES[request.param](folder)
    return folder / "report.html"


def test_nothing_is_cut_small_pale_or_out_of_reach(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        for width in WIDTHS:
            browser.resize(width, 900)
            browser.open(page)
            browser.run(OPEN)
            browser.run(EVERY_TIME)
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run(FLAWS) == [], width
            assert browser.run(SMALLEST) >= 10.9, width
            assert browser.run(TOKENS) == [], "word pieces are joined, special tokens are dots"
            for scheme in ("light", "dark"):
                browser.prefer(scheme)
                assert browser.run(CONTRAST)[0] >= 4.5, (width, scheme, browser.run(CONTRAST))
            assert browser.messages() == []
            assert browser.requests() == [page.as_uri()]


@pytest.mark.parametrize("page", ["demo_page"], indirect=True)
def test_a_site_is_served(page: Path, tmp_path: Path) -> None:
    """The recipe of report/README.md, served as by a static host."""
    site = shutil.copytree(page.parent, tmp_path / "site")
    (site / "report.html").rename(site / "index.html")
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, Browser(tmp_path / "profile") as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        browser.open(address)
        links = browser.run("[...document.querySelectorAll('a[href]')].map((a) => a.href)")
        assert browser.run("document.querySelector('[data-part=size-now]').textContent"), "the script has run"
        assert browser.messages() == []
        assert browser.requests() == [address]
        for link in {link for link in links if "#" not in link}:
            with urlopen(link) as answer:  # noqa: S310 the address of the server above
                assert answer.status == 200
        server.shutdown()


def test_everything_is_reached_by_the_tab_key(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path, width=390) as browser:
        browser.open(page)
        browser.run("window.reached = new Set()")
        number = browser.run(REACHABLE)
        assert number > 10
        for _ in range(number + 2):
            browser.press("Tab")
            browser.run("window.reached.add(document.activeElement)")
        assert browser.run("[...reached].filter((e) => e !== document.body).length") == number
        outline = "getComputedStyle(document.querySelector('summary')).outlineStyle"
        browser.run("document.querySelector('summary').focus()")
        browser.press("Enter")
        assert browser.run("document.querySelector('details').open")
        assert browser.run(outline) != "none", "the focus is visible"
        assert browser.messages() == []


def test_the_checks_find_flaws(report: Path, tmp_path: Path) -> None:
    with Browser(tmp_path, width=390) as browser:
        browser.open(report / "report.html")
        texts = "[...document.querySelectorAll('figure svg.narrow text')]"
        browser.run(f"{texts}[0].setAttribute('transform', 'translate(-50 20)')")
        assert any("is cut" in flaw for flaw in browser.run(FLAWS))
        browser.run(f"{texts}.slice(0, 2).forEach((e) => e.setAttribute('transform', 'translate(60 60)'))")
        assert any("overlap" in flaw for flaw in browser.run(FLAWS))
        browser.run("document.querySelector('.box svg.narrow').style.width = '700px'")
        assert any("wider than the page" in flaw for flaw in browser.run(FLAWS))
