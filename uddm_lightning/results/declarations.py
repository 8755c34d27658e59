"""Declarations of the results of a probe, as plain data for tables, TensorBoard, report and glossary.

A run writes the declarations of its probes to columns.json beside measurements.csv, so readers of the tables need no
probe.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.results.reference import reference

BEHIND = "zz_"  # begins the tags that loggers show behind all others
FILE = "columns.json"


@dataclass(frozen=True)
class Column:
    """A column of measurements.csv.

    Args:
        name: in the head of the table.
        unit: "nats", "share", "tokens" and the like.
        meaning: definition in one sentence without a full stop.
        low: smallest possible value.
        high: largest possible value.
        interval: whether it has a 95 % interval, in the columns `<name>_low` and `<name>_high`.
        leading: stands before all columns that are not leading.

    Example:
        >>> Column("recovery", "share", "recovered corrupted tokens", 0.0, 1.0, interval=True).names
        ('recovery', 'recovery_low', 'recovery_high')
    """

    name: str
    unit: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    interval: bool = False
    leading: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns in the table."""
        return (self.name, *((f"{self.name}_low", f"{self.name}_high") if self.interval else ()))


def share(name: str, meaning: str, interval: bool = False) -> Column:
    """Return a column of shares of a whole, from 0 to 1."""
    return Column(name, "share", meaning, 0.0, 1.0, interval)


def count(name: str, unit: str, meaning: str) -> Column:
    """Return a column of counts."""
    return Column(name, unit, meaning, 0)


def nats(name: str, meaning: str, low: float = 0.0, interval: bool = False) -> Column:
    """Return a column in nats per token."""
    return Column(name, "nats per token", meaning, low, interval=interval)


def corruption_time(name: str, meaning: str, interval: bool = False) -> Column:
    """Return a column of times t, from 0 to 1."""
    return Column(name, "corruption time", meaning, 0.0, 1.0, interval)


def leading(*columns: Column) -> tuple[Column, ...]:
    """Return columns that stand before those of other probes."""
    return tuple(replace(column, leading=True) for column in columns)


@dataclass(frozen=True)
class Scalar:
    """A scalar of TensorBoard, one for each record.

    Args:
        column: its value.
        tag: its name, with fields of the record in braces; "" is `<column>/{split}`, and `/t={t:g}` where there is a t.
            Raw weights add `_raw` to the part before the first slash.
        skip_nan: left out where the value is missing or NaN.
        monitored: part of every validation, so that callbacks may monitor it.
        nearest_t: of records with several t, only those nearest to this one are shown.
        minus_test: show the value on train rows minus that on test rows.
        front: splits whose scalars loggers show in front, at the reference t; all others begin with `zz_`.

    Example:
        >>> Scalar("margin", "margin/{split}").name({"split": "test", "weights": "raw", "t": 0.1})
        'margin_raw/test'
        >>> Scalar("recovery").name({"split": "test", "weights": "ema", "t": 0.1})
        'recovery/test/t=0.1'
    """

    column: str
    tag: str = ""
    skip_nan: bool = False
    monitored: bool = True
    nearest_t: float | None = None
    minus_test: bool = False
    front: tuple[str, ...] = ("train", "test", "samples", "random")

    def name(self, record: Mapping[str, Any]) -> str:
        """Return the tag of a record's scalar."""
        has_t = record.get("t") is not None
        word, _, rest = (self.tag or f"{self.column}/{{split}}{'/t={t:g}' if has_t else ''}").partition("/")
        raw = "" if record["weights"] == "ema" else f"_{record['weights']}"
        return f"{word}{raw}/{rest}".format_map(record)


def scalars_of(declared: Sequence[Scalar], records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the scalars of the records of one probe, by the name that a callback may monitor."""
    return {scalar.name(record): value for scalar, record, value in _scalars(declared, records)}


def logged_scalars(declared: Sequence[Scalar], records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, str]]:
    """Return the scalars of the records of one probe and their columns, by the tag in loggers.

    Loggers show in front the scalars of the splits in `Scalar.front`, of the first kind of weights and the first
    metric, at the t nearest to the reference. The tags of all others begin with `zz_`.

    Example:
        >>> records = [{"split": "test", "weights": "ema", "t": t, "recovery": 1 - t} for t in (0.1, 0.5)]
        >>> logged_scalars([Scalar("recovery")], records)
        {'recovery/test/t=0.1': (0.9, 'recovery'), 'zz_recovery/test/t=0.5': (0.5, 'recovery')}
    """
    at = [record["t"] for record in records if record.get("t") is not None]
    first = {name: records[0].get(name) for name in ("weights", "metric")} if records else {}
    found = {}
    for scalar, record, value in _scalars(declared, records):
        same = all(record.get(name) == value for name, value in first.items())
        is_front = same and record["split"] in scalar.front and record.get("t") in (None, reference(at) if at else None)
        found[("" if is_front else BEHIND) + scalar.name(record)] = value, scalar.column
    return found


def _scalars(
    declared: Sequence[Scalar], records: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Scalar, Mapping[str, Any], float]]:
    """Yield every scalar with its record and its value."""
    for scalar in declared:
        mine = records
        if scalar.nearest_t is not None and records:
            nearest = min((record["t"] for record in records), key=lambda t: abs(t - scalar.nearest_t))
            mine = [record for record in records if record["t"] == nearest]
        for record in mine:
            value = math.nan if record.get(scalar.column) is None else record[scalar.column]
            if scalar.minus_test:
                value = _train_value(scalar, record, records) - value
            if not ((scalar.skip_nan or scalar.minus_test) and math.isnan(value)):
                yield scalar, record, value


def _train_value(scalar: Scalar, test: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> float:
    """Return the value on train rows beside a record of test rows; NaN for other records."""
    if test["split"] != "test":
        return math.nan
    other = {name: test.get(name) for name in ("metric", "weights", "t")} | {"split": "train"}
    found = (one[scalar.column] for one in records if all(one.get(name) == value for name, value in other.items()))
    return next(found, math.nan)


@dataclass(frozen=True)
class TimeCurve:
    """A panel against t in the picture that TensorBoard shows after each validation, a line for each split.

    Args:
        column: its value, with an interval.
        title: above the panel.
        label: of the axis.
        bottom: lower end of the axis.
        top: upper end; None leaves it open.
        levels: columns of test rows to draw in grey, with their line styles.
    """

    column: str
    title: str
    label: str
    bottom: float
    top: float | None = None
    levels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure of the report: a column against the number of training rows, a line for each split and t.

    Args:
        title: its heading.
        caption: description of the figure, in full sentences.
        column: its value; "" is the first column of the probe.
    """

    title: str
    caption: str
    column: str = ""


@dataclass(frozen=True)
class Declaration:
    """The declarations of one probe.

    Args:
        metrics: its entries of the column `metric`.
        title: its quantity in words.
        columns: its columns; the first is its value.
        figure: its figure in the report, if it has one there.
    """

    metrics: tuple[str, ...]
    title: str
    columns: tuple[Column, ...]
    figure: Figure | None = None


class Declarations(tuple[Declaration, ...]):
    """The declarations of several probes.

    Example:
        >>> chance = Column("chance", "share", "recovered by the unigram model", 0.0, 1.0)
        >>> declared = Declarations([Declaration(("recovery",), "Token recovery", (chance,))])
        >>> declared.columns
        ('chance',)
        >>> declared.limits("chance"), declared.limits("unknown")
        ((0.0, 1.0), (-inf, inf))
    """

    __slots__ = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns in their order in the table, the leading ones first."""
        columns = sorted((column for one in self for column in one.columns), key=lambda column: not column.leading)
        return tuple(dict.fromkeys(name for column in columns for name in column.names))

    def limits(self, name: str) -> tuple[float, float]:
        """Smallest and largest possible value of a column; infinite if the column is not declared."""
        found = (column for one in self for column in one.columns if column.name == name)
        return next(((column.low, column.high) for column in found), (-math.inf, math.inf))

    def merged(self, others: Iterable[Declaration]) -> "Declarations":
        """These declarations, and those of probes that are not among them."""
        known = {one.metrics for one in self}
        return Declarations([*self, *(one for one in others if one.metrics not in known)])


NONE = Declarations()


def write_declarations(folder: Path, declared: Declarations) -> None:
    """Write columns.json unless it is up to date. Declarations of other probes in the file are kept."""
    known = read_declarations(folder)
    merged = declared.merged(known)
    if merged == known:
        return
    content = [asdict(one, dict_factory=_without_defaults) for one in merged]
    write_text(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_declarations(folder: Path) -> Declarations:
    """Return the declarations in columns.json of a run or a sweep; empty without that file.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return Declarations()
    try:
        return Declarations(map(_declaration, json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` cannot be read ({error}). Remove it; `uddm validate` writes it again.") from error


def _declaration(content: Mapping[str, Any]) -> Declaration:
    metrics, columns = tuple(map(str, content["metrics"])), tuple(Column(**column) for column in content["columns"])
    figure = content.get("figure")
    return Declaration(metrics, str(content["title"]), columns, Figure(**figure) if figure else None)


def _without_defaults(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Leave out None and infinite numbers: they are the defaults, and JSON has no infinity."""
    return {name: value for name, value in fields if value not in (None, math.inf, -math.inf)}
