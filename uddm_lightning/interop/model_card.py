"""Write the model card: architecture, regime, origin and use of a model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from uddm_lightning.interop.exported import CONFIG, WEIGHTS
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.errors import errors_sentences
from uddm_lightning.report.formatting import count, percent, with_interval
from uddm_lightning.report.regimes import NOT_AT_END, sentence
from uddm_lightning.results.declarations import read_declarations
from uddm_lightning.results.parquet import read_parquet, with_run_columns
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import number, read_table
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.transition import estimate
from uddm_lightning.transition.regimes import NOT_AT_ITS_END

_HEAD = (
    *("t", "split", "recovery", "chance", "coincidence", "wrong before", "wrong after", "clean tokens changed"),
    *("entropy [nats]", "rows", "draws"),
)
_SPLITS = {"train": "train rows", "test": "test rows", "samples": "own samples"}
UNKNOWN = "**Not measured.** `uddm validate` measures it."


def card(config: Mapping[str, Any], run: Path) -> str:
    """Return the README.md of an exported model.

    Args:
        config: content of its config.json.
        run: folder of the run that it comes from, with measurements.csv if it was measured.
    """
    return "\n".join([*_head(config), "", *_regime(config, run), "", *_origin(run), "", *_use(config)]) + "\n"


def _head(config: Mapping[str, Any]) -> Iterator[str]:
    network, process = config["architecture"], config["process"]
    yield f"# {config['name']}"
    yield ""
    yield "A discrete diffusion language model, exported by uddm_lightning."
    yield ""
    yield "| | |"
    yield "|---|---|"
    shape = f"{network['hidden_size']} wide, {network['n_blocks']} block(s), {network['n_heads']} head(s)"
    yield f"| network | {network['class']}, {shape}, {config['parameters']:,} parameters |"
    yield f"| text | rows of {config['length']} tokens, {config['vocab_size']:,} ids |"
    yield f"| process | {process['class']}, {process['schedule']['class']}, eps = {process['schedule']['eps']:g} |"
    yield f"| logits | {config['prediction']} predictions |"
    yield f"| weights | {config['weights']}, after {config['step']:,} steps |"
    yield f"| tokenizer | {config['tokenizer'] or 'not at hand when this was exported'} |"


def _regime(config: Mapping[str, Any], run: Path) -> Iterator[str]:
    """Yield the measurements of these weights."""
    yield "## Memory or generalization, as measured"
    yield ""
    path = run / "measurements.csv"
    table = [row for row in read_table(path) if row["weights"] == config["weights"]] if path.exists() else []
    rows = [row for row in table if row["step"] == str(config["step"])]
    if not rows:
        yield UNKNOWN
        return
    study = Study(rows, read_declarations(run))
    size, backbone, t = study.sizes[-1], study.backbones[0], study.reference
    rows = [row for row in rows if row["train_size"] == str(size)]
    first = next((row for row in rows if row["metric"] == "recovery"), rows[0])
    if first["sampler"]:
        yield (
            f"By {first['weights']} weights at step {int(first['step']):,}, {first['sampler']} chain on a grid of "
            f"{first['sampler_steps']} steps; {count(size)} training rows, seed {first['seed']}; "
            "95 % intervals in brackets."
        )
        yield ""
    yield f"| {' | '.join(_HEAD)} |"
    yield f"|{'---|' * len(_HEAD)}"
    yield from _lines(rows)
    for row in rows:
        if row["metric"] in ("nelbo", "nelbo_extrapolated"):
            span = f"[{number(row['t_min']):g}, {number(row['t_max']):g}]"
            wide = " (extrapolated: trained on a part of it)" if row["metric"] == "nelbo_extrapolated" else ""
            yield f"\nNELBO on t in {span}{wide}, {row['split']} rows: {_value(row, 'nelbo')} nats per token."
    leaks = {row["split"]: leak for row in rows if (leak := number(row.get("self_token_influence"))) is not None}
    if leaks:
        told = ", ".join(f"{_SPLITS.get(split, split)} {leak:.3f}" for split, leak in leaks.items())
        yield f"\nOwn-token leak, 0 for an exact leave-one-out prediction: {told}."
    for line in errors_sentences(study):
        yield f"\n{line}"
    yield ""
    if run_folder.origin(run) is not None:
        yield (
            "**The regime is not known:** the model was trained elsewhere, and nothing here says whether it has seen "
            "the rows called train."
        )
        return
    earlier = [row for row in table if int(row["step"]) <= int(config["step"])]
    for found in Estimates(estimate(earlier, _draws(run, first))).regimes(backbone):
        yield f"At t = {t:g}, judged by this one run: **{found.regime.name}**. {sentence(found.regime)}"
        if NOT_AT_ITS_END in found.regime.qualifiers:
            yield f"\n{NOT_AT_END}"


def _draws(run: Path, row: Mapping[str, str]) -> pa.Table | None:
    """Return the draws behind the measurements of a row's run and step, as a sweep's table holds them."""
    filters = [("step", "=", int(row["step"])), ("weights", "=", row["weights"])]
    table = read_parquet(run / "rows.parquet", filters)
    return None if table is None else with_run_columns(table, row)


def _lines(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line for each t and split."""
    found: dict[tuple[float, str], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        if row["metric"] in ("recovery", "entropy") and row["t"]:
            found.setdefault((float(row["t"]), row["split"]), {}).setdefault(row["metric"], row)
    for (t, split), kinds in sorted(found.items()):
        recovery, entropy = kinds.get("recovery", {}), kinds.get("entropy", {})
        any_row = recovery or entropy
        levels = [_value(recovery, name) for name in ("recovery", "chance", "coincidence")]
        before, after, changed = (
            number(recovery.get(n)) for n in ("errors_before", "errors_after", "clean_change_rate")
        )
        cells = [
            f"{t:g}",
            split,
            *levels,
            percent(before),
            percent(after),
            percent(changed),
            _value(entropy, "entropy"),
        ]
        yield f"| {' | '.join([*cells, any_row.get('n_rows', ''), any_row.get('n_draws', '')])} |"


def _value(row: Mapping[str, str], column: str) -> str:
    low, high = (number(row.get(f"{column}_{end}")) for end in ("low", "high"))
    return with_interval(number(row.get(column)), low, high)


def _origin(run: Path) -> Iterator[str]:
    """Yield the training data, as far as it is known."""
    manifest = run_folder.read_manifest(run)
    yield "## Trained on"
    yield ""
    converted = manifest.get(run_folder.CONVERTED)
    if isinstance(converted, dict):
        yield f"Converted from `{converted.get('file')}` (sha256 `{converted.get('sha256')}`), layout of s-sahoo/duo."
        yield ""
        for name, value in converted.get("said_of_training", {}).items():
            yield f"* `{name}`: {value if value is not None else 'not said'} (by the file's own account)"
        yield "* which rows: not known"
    elif manifest:
        pool = manifest["splits"]["train"]["rows"]
        yield f"{manifest['train_size']:,} rows of a pool of {pool:,}, seed {manifest['seed']}."
        yield ""
        yield f"* source: `{manifest['source']['class_path']}`, corpus `{manifest['corpus']}`"
        yield f"* subset `{manifest['subset']}`, rule: {manifest['rule']}"
    else:
        yield "Not known: the run has no manifest."
    yield ""
    yield "Other uses, biases and the licence of the text are not known to the program that wrote this card."


def _use(config: Mapping[str, Any]) -> Iterator[str]:
    eps = config["process"]["schedule"]["eps"]
    yield "## Use"
    yield ""
    yield f"`{WEIGHTS}` holds the weights by the parameter names of Duo's DiT, `{CONFIG}` everything else."
    yield ""
    yield "```python"
    yield "import math, torch"
    yield "from uddm_lightning.interop import load_exported"
    yield ""
    yield 'network = load_exported(".")'
    yield f"tokens_BL = torch.randint({config['states']}, (1, {config['length']}))  # noisy ids at t = 0.5"
    if config["process"]["schedule"]["class"] == "LogLinearSchedule":
        yield f"sigma_B = torch.tensor([-math.log(1 - (1 - {eps:g}) * 0.5)])"
    else:
        yield f"sigma_B = torch.tensor([...])  # -ln alpha_t of the {config['process']['schedule']['class']}"
    yield "logits_BLV = network.head(network(tokens_BL, sigma_B))"
    yield "```"
