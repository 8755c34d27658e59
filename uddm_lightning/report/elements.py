"""Parts of the page as HTML: paragraphs, tables and folded parts."""

import re
from collections.abc import Mapping, Sequence

from uddm_lightning.report.figures.drawing import Table
from uddm_lightning.report.formatting import decimal, escaped

_NUMBER = re.compile(r"[-\u2212\u2013]?$|[-\u2212]?\d[\d,.]*(\u00a0?%)?( .*\d\)?.*)?$")  # minus, dash, no-break space
_NONE, _MODEL = decimal(None), "model"  # an empty cell, and the head of the column of backbones
_LONG = 40  # characters of a cell that may be cut into lines


def paragraph(sentences: Sequence[str]) -> str:
    """Return sentences as one paragraph; nothing without any."""
    return f"<p>{escaped(' '.join(sentences))}</p>" if sentences else ""


def folded(summary: str, content: str, kind: str = "") -> str:
    """Return content that is hidden until its summary is opened."""
    return f"<details{_class(kind)}><summary>{escaped(summary)}</summary>{content}</details>"


def numbers(table: Table, terms: Mapping[str, str]) -> str:
    """Return a folded table with the numbers of a figure."""
    return folded("The numbers", table_of(table, terms))


def table_of(table: Table, terms: Mapping[str, str]) -> str:
    """Return a table in a box that scrolls; columns of numbers are aligned to the right, known terms are explained.

    Columns without a value, and the name of the model where there is one model, are left out.
    """
    table = _without_empty(table)
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.head)
    kinds = [_kind(column) for column in columns]
    head = "".join(
        f'<th{_class("number" if kind == "number" else "")} scope="col">{term(cell, terms)}</th>'
        for cell, kind in zip(table.head, kinds, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{_class(kind)}>{escaped(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for row in table.rows
    )
    return f"{box('Table')}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _without_empty(table: Table) -> Table:
    """Return a table without columns that say nothing."""
    columns = list(zip(*table.rows, strict=True))
    kept = [
        place
        for place, (head, column) in enumerate(zip(table.head, columns, strict=False))
        if set(column) - {"", _NONE} and not (head == _MODEL and len(set(column)) == 1)
    ]
    return Table([table.head[i] for i in kept], [[row[i] for i in kept] for row in table.rows]) if kept else table


def box(label: str, kind: str = "box") -> str:
    """Return the start of a box that scrolls sideways, also by keys."""
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="{escaped(label)}">'


def term(text: str, terms: Mapping[str, str]) -> str:
    """Return a term, with its definition on demand if there is one."""
    meaning = terms.get(text)
    return f'<dfn tabindex="0" data-says="{escaped(meaning)}">{escaped(text)}</dfn>' if meaning else escaped(text)


def _kind(column: Sequence[str]) -> str:
    if column and all(_NUMBER.match(cell) for cell in column) and any(column):
        return "number"
    return "why" if any(len(cell) >= _LONG for cell in column) else "short"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
