"""Write transition.json, the figures and report.html from the tables of a sweep."""

import json
import sys
from pathlib import Path
from typing import Any

from uddm_lightning.core.files import write_text
from uddm_lightning.report import write_report
from uddm_lightning.report.formatting import count, typeset
from uddm_lightning.results.declarations import read_declarations
from uddm_lightning.results.parquet import read_parquet
from uddm_lightning.results.reference import METHODS, SIZES, reference
from uddm_lightning.sweeps.collect import collect, training_facts
from uddm_lightning.transition import estimate
from uddm_lightning.transition.estimate import limit_of
from uddm_lightning.transition.methods import UNDEFINED

PAGE_ONLY = "write the figures in report.html only, not as files, and no TensorBoard summary: about half of the time"
FACTS = "facts.json"  # about the runs, for a folder whose runs are gone


def write_results(folder: Path, page_only: bool = False) -> dict[str, Any]:
    """Collect the tables of all runs, estimate the transition, and write transition.json, figures and report.html.

    Args:
        folder: folder of a sweep, or of runs. No checkpoint is read.
        page_only: write no figures beside the page, and no TensorBoard runs.

    Returns:
        The content of transition.json.

    Raises:
        InputError: the folder holds no measurements, or a table is damaged.
    """
    rows = collect(folder)
    draws, declared = read_parquet(folder / "rows.parquet"), read_declarations(folder)
    transition: dict[str, Any] = estimate(rows, draws)
    write_text(folder / "transition.json", json.dumps(transition, indent=2, ensure_ascii=False) + "\n")
    sequences, basins = (read_parquet(folder / f"{name}.parquet") for name in ("sequences", "basins"))
    write_report(folder, rows, transition, sequences, _facts(folder), basins, declared, draws, page_only)
    if page_only:
        note_earlier_files(folder)
    return transition


def note_earlier_files(folder: Path) -> None:
    """Say which files of an earlier report a new page leaves as they are."""
    earlier = [name for name in ("figures", "summary") if any((folder / name).glob("*"))]
    if earlier:
        names = " and ".join(f"`{name}`" for name in earlier)
        sys.stderr.write(f"uddm: {names} in {folder} are of an earlier report; `uddm report` writes them again.\n")


def _facts(folder: Path) -> dict[str, str]:
    """Return a description of the runs; store it, because a folder of tables without runs has only the stored one."""
    path = folder / FACTS
    if facts := training_facts(folder):
        write_text(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return facts
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(text) for name, text in stored.items()} if isinstance(stored, dict) else {}


def summary(transition: dict[str, Any]) -> str:
    """Return the headline of each backbone, then one line for each method and size at the t nearest 0.1.

    Sizes that a method does not define are left out. A reason that is that of the line before is not repeated.
    """
    lines = []
    for name, found in transition["backbones"].items():
        before = ""  # the reason of the line before, of the same backbone
        if headline := transition["headline"][name]:
            qualifier = f"; {headline['qualifier']}" if headline["qualifier"] else ""
            lines.append(f"{name}: {SIZES[headline['estimate']]} = {_with_interval(headline)} by recovery{qualifier}")
        estimates = found["estimates"]
        times = [one["t"] for one in estimates if one["t"] is not None]
        for one in estimates:
            if times and one["t"] not in (None, reference(times)):
                continue
            at = "" if one["t"] is None else f" at t = {one['t']:g}"
            for key, label in SIZES.items():
                reason = one["reasons"].get(key, "see the notes")
                if not one[key] and reason == UNDEFINED.get(key):
                    continue
                if one[key]:
                    size, before = _with_interval(one[key]), ""
                    size += f"; {limit}" if (limit := limit_of(one, key)) else ""
                else:
                    size, before = f"null ({'same reason' if reason == before else typeset(reason)})", reason
                lines.append(f"{name}, {METHODS[one['method']]}{at}: {label} = {size}")
    return "\n".join(lines)


def _with_interval(size: dict[str, float | None]) -> str:
    low, high = ("unknown" if size[end] is None else count(size[end] or 0.0) for end in ("low", "high"))
    return f"{count(size['value'] or 0.0)} rows (95 % interval {low} to {high})"
