"""Parts of the page: what is escaped, aligned and left out."""

from uddm_lightning.report.elements import folded, numbers, paragraph, table_of, term
from uddm_lightning.report.figures.drawing import Table
from uddm_lightning.report.formatting import decimal

HOSTILE = "<b>\"'&"


def test_text_is_escaped_everywhere() -> None:
    table = Table([HOSTILE], [[HOSTILE]])
    for made in (paragraph([HOSTILE]), folded(HOSTILE, ""), table_of(table, {}), term(HOSTILE, {HOSTILE: HOSTILE})):
        assert "<b>" not in made
        assert "&lt;b&gt;" in made
    assert paragraph([]) == ""


def test_columns_are_aligned_by_their_content() -> None:
    words = "a reason of more than forty characters in a cell"
    made = table_of(Table(["N", "loss", "why"], [["1,024", "0.5 (0.4 to 0.6)", words], ["8", "-0.1", words]]), {})
    assert made.count('<th class="number" scope="col">') == 2
    assert made.count('<td class="number">') == 4
    assert made.count('<td class="why">') == 2


def test_columns_that_say_nothing_are_left_out() -> None:
    rows = [["DiT", decimal(None), "1"], ["DiT", "", "2"]]
    assert table_of(Table(["model", "empty", "N"], rows), {}).count("<th") == 1 + 1  # with <thead>
    rows[1][0] = "MLP"
    assert "model" in table_of(Table(["model", "empty", "N"], rows), {})


def test_known_terms_are_explained() -> None:
    made = numbers(Table(["recovery", "other"], [["1", "2"]]), {"recovery": "a share"})
    assert made.count("<dfn") == 1
    assert 'data-says="a share"' in made
    assert made.startswith("<details><summary>The numbers</summary>")
