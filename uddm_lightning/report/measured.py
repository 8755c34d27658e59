"""Describe the measurements of one run in Markdown, for its model card."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.errors import errors_sentences
from uddm_lightning.report.formatting import count, percent, with_interval
from uddm_lightning.report.regimes import NOT_AT_END, sentence
from uddm_lightning.results.declarations import read_declarations
from uddm_lightning.results.parquet import read_parquet, with_run_columns
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import bounds, number, read_table
from uddm_lightning.transition import estimate
from uddm_lightning.transition.regimes import NOT_AT_ITS_END

_HEAD = (
    *("t", "split", "recovery", "chance", "coincidence", "wrong before", "wrong after", "clean tokens changed"),
    *("entropy [nats]", "rows", "draws"),
)
_SPLITS = {"train": "train rows", "test": "test rows", "samples": "own samples"}


def measured_paragraphs(run: Path, weights: str, step: int, is_foreign: bool = False) -> Iterator[str]:
    """Yield paragraphs and tables about the measurements of a run; nothing if these weights were not measured.

    Args:
        run: folder of the run.
        weights: ema or raw.
        step: number of optimizer steps of the weights.
        is_foreign: whether the model was trained elsewhere, so that its training rows, and its regime, are not known.

    Raises:
        InputError: a table is damaged.
    """
    path = run / "measurements.csv"
    table = [row for row in read_table(path) if row["weights"] == weights] if path.exists() else []
    rows = [row for row in table if row["step"] == str(step)]
    if not rows:
        return
    study = Study(rows, read_declarations(run))
    size, backbone = study.sizes[-1], study.backbones[0]
    rows = [row for row in rows if row["train_size"] == str(size)]
    first = next((row for row in rows if row["metric"] == "recovery"), rows[0])
    if first["sampler"]:
        yield (
            f"By {weights} weights at step {step:,}, {first['sampler']} chain on a grid of "
            f"{first['sampler_steps']} steps; {count(size)} training rows, seed {first['seed']}; "
            "95 % intervals in brackets."
        )
    yield "\n".join([f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}", *_table_lines(rows)])
    for row in rows:
        if row["metric"] in ("nelbo", "nelbo_extrapolated"):
            span = f"[{number(row['t_min']):g}, {number(row['t_max']):g}]"
            wide = " (extrapolated: trained on a part of it)" if row["metric"] == "nelbo_extrapolated" else ""
            value = with_interval(*bounds(row, "nelbo"))
            yield f"NELBO on t in {span}{wide}, {row['split']} rows: {value} nats per token."
    leaks = {row["split"]: leak for row in rows if (leak := number(row.get("self_token_influence"))) is not None}
    if leaks:
        values = ", ".join(f"{_SPLITS.get(split, split)} {leak:.3f}" for split, leak in leaks.items())
        yield f"Own-token leak, 0 for an exact leave-one-out prediction: {values}."
    yield from errors_sentences(study)
    if is_foreign:
        yield (
            "**The regime is not known:** the model was trained elsewhere, and nothing here says whether it has seen "
            "the rows called train."
        )
        return
    earlier = [row for row in table if int(row["step"]) <= step]
    for found in Estimates(estimate(earlier, _draws(run, first))).regimes(backbone):
        name = found.regime.name
        yield f"At t = {study.reference:g}, judged by this one run: **{name}**. {sentence(found.regime)}"
        if NOT_AT_ITS_END in found.regime.qualifiers:
            yield NOT_AT_END


def _draws(run: Path, row: Mapping[str, str]) -> pa.Table | None:
    """Return the draws behind the measurements of a row's run and step, as a sweep's table holds them."""
    filters = [("step", "=", int(row["step"])), ("weights", "=", row["weights"])]
    table = read_parquet(run / "rows.parquet", filters)
    return None if table is None else with_run_columns(table, row)


def _table_lines(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line for each t and split."""
    found: dict[tuple[float, str], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        if row["metric"] in ("recovery", "entropy") and row["t"]:
            found.setdefault((float(row["t"]), row["split"]), {}).setdefault(row["metric"], row)
    for (t, split), kinds in sorted(found.items()):
        recovery, entropy = kinds.get("recovery", {}), kinds.get("entropy", {})
        cells = [
            f"{t:g}",
            split,
            *(with_interval(*bounds(recovery, name)) for name in ("recovery", "chance", "coincidence")),
        ]
        shares = ("errors_before", "errors_after", "clean_change_rate")
        cells += [*(percent(number(recovery.get(name))) for name in shares), with_interval(*bounds(entropy, "entropy"))]
        cells += [(recovery or entropy).get(name, "") for name in ("n_rows", "n_draws")]
        yield f"| {' | '.join(cells)} |"
