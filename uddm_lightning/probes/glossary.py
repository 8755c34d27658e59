"""The glossary of all quantities, made from the declarations of the probes.

`python -m uddm_lightning.probes.glossary` writes report/GLOSSARY.md.
"""

import math
from collections.abc import Iterable
from pathlib import Path

from uddm_lightning import probes
from uddm_lightning.core.files import write_text
from uddm_lightning.probes.base import Probe
from uddm_lightning.results.declarations import Column, Scalar

PATH = Path(__file__).parents[1] / "report" / "GLOSSARY.md"
HEAD = """# Glossary

Every quantity of measurements.csv and TensorBoard. `python -m uddm_lightning.probes.glossary` writes this file from the
declarations of the probes.

Loggers show in front both recoveries, their gap and both entropies at the t nearest to 0.1, the NELBO and the loss. All
other tags begin with `zz_`, which the names below leave out; a callback monitors a scalar by the name without it. The
TensorBoard run of a sweep has the tags `transition/...` and the step axis log2 N.

`<column>_low` and `<column>_high` are the ends of a 95 % interval, clustered by row or document. It covers the sampling
of rows and noise in one run, not training. An empty field was not measured. Counted tokens are neither padding nor
special tokens.

## Columns of every metric

| column | unit | range | definition |
|---|---|---|---|
"""
COMMON = (
    Column("run", "name", "name of the run: backbone, size, seed and a hash of the deciding settings"),
    Column("backbone", "name", "name of the network"),
    Column("parameters", "count", "trainable parameters", 0),
    Column("train_size", "rows", "rows of the training subset", 1),
    Column("seed", "number", "seed of weights, order of rows and noise", 0),
    Column("metric", "name", "kind of the measurement: one of the sections below"),
    Column("step", "steps", "optimizer steps behind the weights", 0),
    Column("weights", "name", "ema (moving average of the weights) or raw"),
    Column("split", "name", "train (rows of the subset), test (held-out rows), samples (drawn by the model), random"),
    Column("t", "corruption time", "noise level, from 0 (clean) to 1 (noise); empty if the metric has none", 0.0, 1.0),
    Column("sampler", "name", "reverse chain; empty if none was run"),
    Column("sampler_steps", "steps", "steps of its grid over [0, 1]", 1),
    Column("n_rows", "rows", "distinct rows behind the number", 0),
    Column("n_draws", "draws", "measurements of rows in all; a row may be measured again with other noise", 0),
)


def glossary(kinds: Iterable[type[Probe]]) -> str:
    """Return the glossary in Markdown.

    Args:
        kinds: classes of probes, in their order in the glossary.
    """
    sections = [HEAD + "\n".join(map(_line, COMMON)) + "\n"]
    for kind in kinds:
        lines = "\n".join(map(_line, kind.columns))
        names = ", ".join(f"`{name}`" for name in (kind.kind, *kind.extra_metrics))
        tags = ", ".join(f"`{_tag(scalar)}`" for scalar in kind.scalars)
        sections.append(
            f"## {kind.title}\n\nMetric: {names}. Splits: {', '.join(kind.splits)}. Options: `--{kind.kind}.*`.\n\n"
            f"{kind.reading}\n\n| column | unit | range | definition |\n|---|---|---|---|\n{lines}\n\n"
            f"TensorBoard: {tags}.\n"
        )
    return "\n".join(sections)


def shipped() -> list[type[Probe]]:
    """Return the probes of the package."""
    return [kind for kind in vars(probes).values() if isinstance(kind, type) and kind is not Probe]


def _line(column: Column) -> str:
    names = f"`{column.name}`" + (" (with interval)" if column.interval else "")
    return f"| {names} | {column.unit} | {_range(column)} | {column.meaning.replace('|', chr(92) + '|')} |"


def _range(column: Column) -> str:
    if math.isinf(column.low) and math.isinf(column.high):
        return ""
    return f">= {column.low:g}" if math.isinf(column.high) else f"{column.low:g} to {column.high:g}"


def _tag(scalar: Scalar) -> str:
    tag = scalar.tag or f"{scalar.column}/{{split}}/t={{t:g}}"
    return tag.replace(":g}", "}").replace("{", "<").replace("}", ">")


if __name__ == "__main__":
    write_text(PATH, glossary(shipped()))
