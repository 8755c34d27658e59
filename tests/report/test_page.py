"""The page: a single file that starts with text and works for any data."""

import math
import re
from collections import Counter
from html.parser import HTMLParser
from statistics import fmean, stdev

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.core.errors import InputError
from uddm_lightning.report import write_report
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.formatting import typeset
from uddm_lightning.report.page import page as make_page
from uddm_lightning.report.replay import Replay
from uddm_lightning.results.panel import Panel
from uddm_lightning.results.study import Study
from uddm_lightning.stats.intervals import Interval, difference_interval
from uddm_lightning.stats.student_t import student_t
from uddm_lightning.transition import estimate
from uddm_lightning.transition.methods import UNDEFINED

FEW = (8, 64, 512)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Parser of tags, attributes and text that requires a well-formed page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open[-1:]):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]


def written(folder, **inputs):
    """Write a page, without the files of its figures unless `page_only` is false, and return it."""
    rows = inputs.pop("rows", None) or sweeps.measurements(folder, FEW)
    inputs = {"transition": sweeps.transition(), "sequences": None, "about": {}, "page_only": True, **inputs}
    write_report(folder, rows, **inputs)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(report):
    return Page((report / "report.html").read_text(encoding="utf-8"))


def test_the_page_begins_with_the_answer(page):
    first = page.text.index("N_half = 64 training rows (95 % interval 49 to 83) by recovery at t = 0.1.")
    then = page.text.index("is half of its plateau, in log N. Measured after 200 training steps.")
    second = page.text.index("How to read this page")
    assert first < then < page.text.index("Recovery is 0.996 on train rows and 0.115 on test rows") < second
    slope = "has the slope 0.0200 (0.0100 to 0.0300) per doubling; the highest value is at N = 8,192."
    assert f"Test recovery at t = 0.1: a straight line against log2 N {slope}" in page.text


def test_the_page_loads_nothing_from_the_network(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?:|//[a-z]+\.[a-z]+|@import|url\((?!#)", text)
    page = Page(text)
    assert not [tag for tag, attributes in page.tags if "src" in attributes]
    assert [found["href"] for found in page.all("link")] == ["data:,"]
    links = {found["href"] for tag, found in page.tags if tag != "link" and "href" in found}
    files = {link for link in links if not link.startswith("#")}
    assert {"measurements.csv", "figures/front.svg", "figures/front.pdf", "figures/front-column.pdf"} <= files
    assert [link for link in sorted(files - {"columns.json", "transition.json"}) if not (report / link).exists()] == []


def test_it_has_layouts_for_phones_and_dark_mode(report, page):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert page.all("meta", name="viewport", content="width=device-width, initial-scale=1")
    assert "@media screen and (prefers-color-scheme: dark)" in text
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(svgs) == 2 * 8, "each also has the width of a phone"
    for svg in svgs:
        assert "var(--text)" in svg
        assert not re.findall(r"#[0-9a-f]{6}\b", svg), "a colour that the page cannot change"


def test_every_figure_has_its_table(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.DOTALL)
    assert [name for name, _ in sections] == [
        *("sentences", "recovery", "gap", "errors", "entropy", "samples", "densities", "agreement", "leak")
    ]
    for name, section in sections:
        (details,) = re.findall(r"<details>.*?</details>", section, re.DOTALL)
        assert details.count("<tr>") > 3, name
        assert ("<svg" in section) == (name not in ("sentences", "leak"))


def test_every_point_shows_its_value(report, page):
    text = (report / "report.html").read_text(encoding="utf-8")
    (recovery,) = re.findall(r'<section id="recovery">.*?</svg>', text, re.DOTALL)
    titles = re.findall(r'<circle class="hit"[^>]*><title>([^<]+)</title></circle>', recovery)
    assert len(titles) == len(sweeps.SIZES) * (2 * len(sweeps.TIMES) + 2)
    study = Study(sweeps.read_table(report / "measurements.csv"))
    mean = study.mean("recovery", "DiT", "train", 2, 0.05)
    assert mean is not None
    value = f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})"
    assert f"train, t = 0.05, N = 2: {value}, chance {mean.number('chance'):.3f}, coincidence 0.076" in titles
    front, recovery, gap, errors, entropy, samples, agreement = 14, 70, 28, 35, 84, 7 * 8 + 5, 12 + 8
    both = front + recovery + gap + errors + entropy + samples + agreement
    assert len(page.all("circle", class_="hit")) == 2 * both


def test_ids_are_unique_and_references_exist(page, models):
    for found in (page, Page((models / "report.html").read_text(encoding="utf-8"))):
        ids = Counter(attributes["id"] for _, attributes in found.tags if "id" in attributes)
        assert max(ids.values()) == 1
        for tag, attributes in found.tags:
            values = [attributes["href"]] if tag == "use" else re.findall(r"url\((#[^)]+)\)", str(attributes))
            assert all(value[1:] in ids for value in values)


def test_text_from_data_is_escaped(report, page):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert len(page.all("script")) == 2
    assert len(page.all("script", type="application/json")) == 1
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "$x^2$␇�" in page.text
    assert not re.findall(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    assert "a text with <script>alert(1)</script>&\"'" in page.text


def test_tokens_are_distinguished_without_colour(page):
    for state in ("changed", "recovered", "lost", "broken"):
        assert len(page.all("i", class_=state)) > 1, state
    assert page.all("i", class_="recovered", title="corrupted and restored")
    assert "A row" not in page.text
    assert "a training row of all of these models" in page.text
    assert "a held-out row" in page.text


def test_the_measurements_are_described(page):
    text = page.text[page.text.index("What was measured") :]
    for words in ("DiT (1,000 parameters)", "2, 8, 32", "ema", "200", "ancestral on 50 steps", "2 to 64 distinct rows"):
        assert words in text
    for words in (
        "and 64 draws for each number",
        "t = 0.05, t = 0.1",
        "on t in [0.05, 1]",
        "on t in [0.001, 1]; the network was trained on a part of it",
        "two cores",
    ):
        assert words in text
    assert "One seed: the intervals cover the sampling of sequences only." in page.text


def test_regimes_are_those_of_transition_json(page):
    """Names and reasons are those of the file."""
    found = Estimates(sweeps.transition()).regimes("DiT")
    names = ["memorizing"] * 2 + ["in transition"] * 2 + ["undetermined"] + ["generalizing"] * 2
    assert [one.regime.name for one in found] == names
    for one in found:
        assert one.regime.reason in page.text
        assert page.all("span", class_=f"regime {one.regime.name.replace(' ', '-')}")
    assert found[4].regime.draws_needed == 112
    assert "about 112 draws for each split would decide" in page.text
    assert "9.6 % → 13.0 % 5.0 %" in page.text.replace("\N{NO-BREAK SPACE}", " "), "errors stand beside recovery"
    assert "means: the test NELBO still fell" not in page.text


def test_unfinished_training_is_stated(tmp_path):
    found = written(tmp_path, transition=sweeps.transition(sizes=FEW, falling=True))
    assert "Training was not at its end." in found.text
    assert found.text.count('"Training was not at its end" means that the test NELBO still fell') == 1


def test_an_unknown_regime_is_escaped(tmp_path):
    transition = sweeps.transition(sizes=FEW)
    transition["backbones"]["DiT"]["regimes"][0]["regime"] = '"><script>alert(1)</script>'
    found = written(tmp_path, transition=transition)
    assert len(found.all("script")) == 1
    assert found.all("span", class_="regime undetermined")


def test_the_entropy_gap_is_that_of_each_run_with_its_interval(tmp_path):
    rows = sweeps.measurements(tmp_path, (8,), seeds=(0, 1, 2))
    rows = [row for row in rows if (row["seed"], row["split"]) != ("2", "samples")]
    study = Study(rows)
    (gap,) = study.entropy_gaps("DiT", 0.1)
    sides = [study.points("entropy", "entropy", "DiT", split, 0.1)[:2] for split in ("samples", "train")]
    expected = [
        difference_interval(*(Interval(point.value, point.low, point.high) for point in pair))
        for pair in zip(*sides, strict=True)
    ]
    assert [(point.value, point.low, point.high) for point in gap.points] == expected
    assert gap.value == pytest.approx(sum(one.value for one in expected) / 2)
    cells = {(p.row["split"], 8, p.seed): Interval(p.value, p.low, p.high) for side in sides for p in side}
    panel = Panel(cells, {})  # the source of the gaps in transition.json
    mean = panel.mean(panel.weights({"samples": 1.0, "train": -1.0}, 8))
    assert (gap.value, gap.low, gap.high) == pytest.approx(mean)
    assert f"({gap.low:.3f} to {gap.high:.3f})" in written(tmp_path, rows=rows).text
    apart = [row for row in rows if (row["seed"], row["split"]) not in (("0", "samples"), ("1", "train"))]
    assert Study(apart).entropy_gaps("DiT", 0.1) == []
    blank = [{**row, "entropy_low": ""} if row["split"] == "train" else row for row in rows]
    (gap,) = Study(blank).entropy_gaps("DiT", 0.1)
    assert (gap.low, gap.high, gap.number("chance")) == (None, None, None)


def test_gaps_of_recovery_are_those_of_transition_json(report):
    verdict = Estimates(sweeps.transition())
    (mean, *_) = verdict.gaps("DiT", "recovery", 0.1)
    expected = sweeps.gap(2, 0.1)
    assert (mean.value, mean.low, mean.high) == pytest.approx(tuple(expected))
    text = (report / "report.html").read_text(encoding="utf-8")
    spelled = f"{expected.value:.3f} ({expected.low:.3f} to {expected.high:.3f})"
    assert text.count(f'<td class="number">{spelled}</td>') >= 2, "in the tables of recovery and of the gap"
    assert verdict.gaps("DiT", "recovery", 0.11) == []


def test_several_seeds_have_an_interval_between_seeds(tmp_path):
    """The union of three intervals is not an interval of the mean."""
    rows = sweeps.measurements(tmp_path, (8,), seeds=(0, 1, 2))
    (mean,) = Study(rows).means("recovery", "DiT", "test", 0.1)
    values = [point.value for point in mean.points]
    half = student_t(2) * stdev(values) / math.sqrt(3)
    assert mean.value == pytest.approx(fmean(values))
    assert mean.high - mean.value >= half - 1e-12
    assert 0.0 <= mean.low <= mean.high <= 1.0


def test_the_real_estimates_fill_the_page(tmp_path):
    rows = sweeps.measurements(tmp_path, kinds=("recovery", "entropy"))
    verdict = estimate(rows)
    found = written(tmp_path, rows=rows, transition=verdict)
    headline = verdict["headline"]["DiT"]
    assert headline["estimate"] == "n_half"
    assert f"N_half = {headline['value']:.0f} training rows (95 % interval {headline['low']:.0f} to" in found.text
    assert f"Limits: {headline['qualifier']}." in found.text
    assert "one seed" in headline["qualifier"]
    for entry in verdict["backbones"]["DiT"]["regimes"]:
        assert typeset(entry["reason"]) in found.text
    (ratio,) = (one for one in verdict["backbones"]["DiT"]["agreement"] if one["t"] == 0.1)
    assert f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) yes" in found.text
    assert "entropy, own samples, t = 0.05" in found.text
    reasons = [reason for one in verdict["backbones"]["DiT"]["estimates"] for reason in one["reasons"].values()]
    for note in verdict["notes"]:
        assert typeset(note) in found.text or note.endswith(tuple(f"{reason}." for reason in reasons))
    notes = found.text[found.text.index("Notes") :]
    assert not [reason for reason in reasons if reason in notes], "they stand under the sizes"
    for name, key in (("N_mem", "n_mem"), ("N_gen", "n_gen")):
        assert f"{UNDEFINED[key]}." in found.text, "in the caption, once for all"
        assert f"no {name} ({UNDEFINED[key]})" not in found.text


# --- missing data ---------------------------------------------------------------------------------------------


def test_without_sequences_the_reason_is_given(tmp_path):
    found = written(tmp_path, page_only=False)
    assert "No restored sequences of these measurements were kept" in found.text
    assert not found.all("section", id="sentences")
    assert not (tmp_path / "figures" / "densities.png").exists()


def test_a_row_that_is_missing_at_a_size_is_reported(tmp_path):
    rows = sweeps.measurements(tmp_path, FEW, kinds=("recovery",))
    found = written(tmp_path, rows=rows, sequences=sweeps.sequences(FEW, splits=("test",)))
    assert "No train row was kept at all of the sizes 8, 64 and 512" in found.text
    assert found.all("section", id="sentences")


def test_without_test_rows_the_regimes_are_unknown(tmp_path):
    rows = sweeps.measurements(tmp_path, FEW, splits=("train",), kinds=("recovery",))
    found = written(tmp_path, rows=rows, transition=sweeps.transition(null=True))
    assert "No transition size. No N_mem, N_half and N_gen: the curve is flat." in found.text
    assert "Test recovery at" not in found.text


@pytest.mark.parametrize(
    ("kinds", "figures", "reason"),
    [
        (("recovery", "entropy"), ["recovery", "errors", "entropy", "leak"], "The NELBO was not measured"),
        (
            ("entropy",),
            ["entropy", "leak"],
            "Recovery of the reported weights was not measured, so there is no figure of it.",
        ),
        (
            ("recovery",),
            ["recovery", "errors"],
            "Entropy of the reported weights was not measured, so there is no figure of it.",
        ),
        (("nelbo",), [], "There are no estimates of transition sizes to compare."),
    ],
)
def test_a_kind_that_was_not_measured_is_named(tmp_path, kinds, figures, reason):
    found = written(tmp_path, rows=sweeps.measurements(tmp_path, FEW, kinds=kinds), transition={})
    assert [section["id"] for section in found.all("section")] == figures
    assert reason in found.text


def test_one_size_is_enough_for_a_page(tmp_path):
    found = written(tmp_path, rows=sweeps.measurements(tmp_path, sizes=(8,)), sequences=sweeps.sequences((8,)))
    assert "one size" not in found.text
    assert len(found.all("section")) == 9


def test_rewriting_removes_old_figures(tmp_path):
    names = ("a", "b")
    two = sweeps.measurements(tmp_path / "two", sizes=(8, 64), backbones=names, kinds=("recovery",))
    written(tmp_path, rows=two, transition=sweeps.transition(names), page_only=False)
    assert (tmp_path / "figures" / "models.svg").exists()
    found = written(tmp_path, rows=[row for row in two if row["backbone"] == "a"], page_only=False)
    assert not (tmp_path / "figures" / "models.svg").exists()
    assert "side by side" not in found.text
    leftovers = [path.name for path in tmp_path.rglob(".*")]
    assert leftovers == []


def test_no_measurements_are_no_report(tmp_path):
    with pytest.raises(InputError, match="holds no measurements to report on"):
        write_report(tmp_path, [], {}, None, {})
    assert not (tmp_path / "report.html").exists()


def test_the_page_compares_the_models_with_oracles(oracle_rows):
    html = make_page(Study(oracle_rows), Estimates(sweeps.transition()), [], Replay(), [], {})
    assert "Recovery of test rows at t = 0.1: the exact posterior&#x27;s chain reaches 0.625" in html
    assert "; DiT at N = 8,192 reaches 0." in html
    assert "can recover more than the exact posterior" in html, "it is no upper bound"
    assert "MarkovBackbone (0 parameters)" not in html
