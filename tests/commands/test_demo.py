"""`uddm demo` and the sweep that ships with the package."""

import json
import math
import re
import webbrowser

import pytest

from uddm_lightning.commands import demo
from uddm_lightning.results.tables import read_table

LIMIT = 3_000_000  # bytes in the wheel


def measured(split: str, size: int) -> dict[str, str]:
    rows = read_table(demo.TABLES / "measurements.csv")
    last = max(int(row["step"]) for row in rows)
    [found] = [
        row
        for row in rows
        if (row["metric"], row["split"], row["weights"]) == ("recovery", split, "ema")
        and (int(row["train_size"]), float(row["t"]), int(row["step"])) == (size, 0.1, last)
    ]
    return found


def test_the_shipped_sweep_is_small_and_its_largest_size_restores_unseen_text():
    assert sum(path.stat().st_size for path in demo.TABLES.iterdir()) < LIMIT
    sizes = sorted({int(row["train_size"]) for row in read_table(demo.TABLES / "measurements.csv")})
    assert len(sizes) >= 5
    largest, smallest = measured("test", sizes[-1]), measured("train", sizes[0])
    assert largest["sampler"] == "ancestral"  # unclamped, temperature 1
    assert float(largest["recovery"]) >= 0.40
    assert float(smallest["recovery"]) >= 0.95
    bits = {float(row["raw_bits"]) for row in read_table(demo.TABLES / "measurements.csv") if row["metric"] == "nelbo"}
    assert [*bits] == pytest.approx([64 * math.log2(27)]), "rows of 64 characters, an alphabet of 27"


def test_the_page_is_written_and_the_next_step_printed(uddm, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("there is no display"))
    outcome = uddm("demo", "--out", tmp_path / "demo")
    assert outcome.status == 0, outcome.err
    page = tmp_path / "demo" / "report.html"
    assert outcome.out == f"{page}\nMake one of your own text:\n  uddm sweep --text my.txt\n"
    html = page.read_text(encoding="utf-8")
    [data] = re.findall(r'<script type="application/json" id="restorations">(.*?)</script>', html)
    [model] = json.loads(data)["models"]
    assert len(model["sizes"]) >= 5
    assert model["times"] == [0.1, 0.25, 0.5]
    links = [link for link in re.findall(r'href="([^"#:]+)"', html) if link]
    assert links
    assert [link for link in links if not (page.parent / link).is_file()] == []
    regimes = json.loads((page.parent / "transition.json").read_text(encoding="utf-8"))
    [found] = [e for e in regimes["backbones"]["DiT"]["estimates"] if (e["method"], e["t"]) == ("recovery", 0.1)]
    assert found["n_mem"]
    assert found["n_gen"]
    assert "uddm sweep -c demo" in html
    assert '<section id="capacity">' in html


def test_a_browser_opens_where_there_is_a_display(uddm, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(demo, "write_results", lambda folder, page_only: None)
    assert uddm("demo", "--out", tmp_path / "demo").status == 0
    assert opened == [(tmp_path / "demo" / "report.html").as_uri()]
    assert uddm("demo", "--out", tmp_path / "demo", "--no-browser").status == 0  # the same folder again
    assert len(opened) == 1


def test_a_folder_with_other_files_is_refused(uddm, tmp_path):
    (tmp_path / "measurements.csv").write_text("mine", encoding="utf-8")
    outcome = uddm("demo", "--out", tmp_path)
    assert outcome.status == 2
    assert f"`{tmp_path}` holds other files; give another folder with `--out`." in outcome.err
    assert (tmp_path / "measurements.csv").read_text(encoding="utf-8") == "mine"


def test_a_file_in_place_of_the_folder_is_refused(uddm, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    outcome = uddm("demo", "--out", tmp_path / "file")
    assert outcome.status == 2
    assert "cannot be written" in outcome.err
