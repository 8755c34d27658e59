"""Write all files of a report."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_atomically, write_text
from uddm_lightning.report import sentences as text
from uddm_lightning.report.estimates import Estimates, three_sizes
from uddm_lightning.report.figures.basins import basins_drawing, margins_drawing
from uddm_lightning.report.figures.capacity import capacity_drawing
from uddm_lightning.report.figures.comparison import agreement_drawing, models_drawing
from uddm_lightning.report.figures.curves import entropy_drawing, recovery_drawing
from uddm_lightning.report.figures.declared import declared_drawings
from uddm_lightning.report.figures.drawing import Drawing, style
from uddm_lightning.report.figures.errors import errors_drawing
from uddm_lightning.report.figures.front import front_drawing
from uddm_lightning.report.figures.frontier import frontier_drawing
from uddm_lightning.report.figures.gaps import gaps_drawing
from uddm_lightning.report.figures.learning import learning_drawing
from uddm_lightning.report.figures.parameters import parameters_drawing
from uddm_lightning.report.figures.phases import phases_drawing
from uddm_lightning.report.figures.ratios import ratios_drawing
from uddm_lightning.report.figures.samples import samples_drawing
from uddm_lightning.report.figures.sequences import densities_drawing, sentences_drawing
from uddm_lightning.report.figures.times import sizes_drawing, times_drawing
from uddm_lightning.report.figures.trajectories import trajectories_drawing
from uddm_lightning.report.formatting import count, listed
from uddm_lightning.report.page import page
from uddm_lightning.report.replay import Replay
from uddm_lightning.report.restorations import restorations, story
from uddm_lightning.results.declarations import NONE, Declarations
from uddm_lightning.results.study import Study

FIGURES = (
    *(
        "front",
        "sentences",
        "phases",
        "times",
        "sizes_over_steps",
        "parameters",
        "learning",
        "recovery",
        "gap",
        "errors",
        "models",
        "ratios",
        "entropy",
        "samples",
        "frontier",
        "capacity",
        "densities",
        "basins",
        "margins",
    ),
    *("trajectories", "agreement"),
)


def write_report(
    folder: Path,
    rows: Iterable[Mapping[str, str]],
    transition: Mapping[str, Any],
    sequences: pa.Table | None,
    about: Mapping[str, str],
    basins: pa.Table | None = None,
    declared: Declarations = NONE,
    draws: pa.Table | None = None,
    page_only: bool = False,
) -> None:
    """Write `figures/`, `report.html` and the TensorBoard runs `summary/<backbone>/` of a sweep.

    Args:
        folder: the sweep's folder.
        rows: the measurements of all runs, every field as text.
        transition: the content of transition.json.
        sequences: restored sequences of all runs with their text, if there are any.
        about: more facts about the runs, for the end of the page.
        basins: critical corruption and margins of single rows of all runs, if there are any.
        declared: declarations of the probes; those that have a figure get one.
        draws: rows.parquet of all runs, if there are any: errors that seeds share.
        page_only: write `report.html` alone, which takes about half of the time.

    Raises:
        InputError: there is no measurement, or a file cannot be written.
    """
    study, verdict = Study(rows, declared, draws), Estimates(transition)
    if not study.rows:
        raise InputError(f"`{folder}` holds no measurements to report on. Train something there first.")
    with style():
        drawings, replay, missing = _drawings(study, verdict, sequences, basins)
        known = {drawing.name for drawing in drawings}
        drawings += [one for one in declared_drawings(study) if one.name not in known]
        if page_only:
            for drawing in drawings:
                drawing.has_files = False
            write_text(folder / "report.html", page(study, verdict, drawings, replay, missing, about))
            return
        from uddm_lightning.report.summary_run import write_summary  # imports torch, which takes seconds

        for drawing in drawings:
            _write_figure(folder / "figures", drawing)
        write_text(folder / "figures" / "captions.tex", "\n".join(map(_latex, drawings)))
        possible = {*FIGURES, *(one.metrics[0] for one in declared)}
        for name in possible - {drawing.name for drawing in drawings}:  # of an earlier report
            for suffix in (".png", ".svg", ".pdf", "-column.pdf"):
                (folder / "figures" / f"{name}{suffix}").unlink(missing_ok=True)
        html = page(study, verdict, drawings, replay, missing, about)
        write_text(folder / "report.html", html)
        for backbone in study.backbones:
            pictures = {one.name: (folder / "figures" / f"{one.name}.png", one.caption) for one in drawings}
            write_summary(folder / "summary" / backbone, study, verdict, backbone, pictures)


def _drawings(
    study: Study, verdict: Estimates, sequences: pa.Table | None, basins: pa.Table | None
) -> tuple[list[Drawing], Replay, list[str]]:
    """Return all figures that the data allow, the sentences of the page, and the reasons for missing figures."""
    has_recovery, has_entropy = bool(study.times("recovery")), bool(study.times("entropy"))
    from_sequences, replay, notes = _from_sequences(study, verdict, sequences)
    found: dict[str, Drawing | None] = {
        "front": front_drawing(study, verdict),
        "phases": phases_drawing(study, verdict),
        "times": times_drawing(study, verdict),
        "sizes_over_steps": sizes_drawing(study, verdict),
        "parameters": parameters_drawing(study, verdict),
        "learning": learning_drawing(study, verdict),
        "recovery": recovery_drawing(study, verdict) if has_recovery else None,
        "gap": gaps_drawing(study, verdict),
        "errors": errors_drawing(study),
        "models": models_drawing(study, verdict) if has_recovery and len(study.backbones) > 1 else None,
        "ratios": ratios_drawing(study, verdict),
        "entropy": entropy_drawing(study, verdict) if has_entropy else None,
        "samples": samples_drawing(study, verdict),
        "frontier": frontier_drawing(study),
        "capacity": capacity_drawing(study, verdict),
        "trajectories": trajectories_drawing(study),
        "agreement": agreement_drawing(study, verdict),
        **from_sequences,
        **_from_basins(study, verdict, basins),
    }
    reasons = [
        (has_recovery, "Recovery of the reported weights was not measured, so there is no figure of it."),
        (has_entropy, "Entropy of the reported weights was not measured, so there is no figure of it."),
        (study.ranges(), "The NELBO was not measured, so it is not drawn above recovery."),
        (found["samples"], "Samples were not measured, so there is no figure of them."),
        *((False, note) for note in notes),
        (found.get("basins"), "Critical corruption was not measured, so there are no figures of basins and margins."),
        (
            found["trajectories"],
            "No sampling chain was observed, so there is no figure of their trajectories.",
        ),
        (found["agreement"], "There are no estimates of transition sizes to compare."),
    ]
    drawings = [drawing for name in FIGURES if (drawing := found.get(name))]
    return drawings, replay, [reason for is_there, reason in reasons if not is_there]


def _from_sequences(
    study: Study, verdict: Estimates, sequences: pa.Table | None
) -> tuple[dict[str, Drawing | None], Replay, list[str]]:
    """Return the figures of restored sequences, the sentences of the page, and notes on both."""
    kept = {name: text.with_readable_texts(study.rows_behind(sequences, "recovery", name)) for name in study.backbones}
    backbone = next((name for name in study.backbones if kept[name]), "")
    t = text.noise_level(kept.get(backbone, []))
    if t is None:
        reason = (
            "No restored sequences of these measurements were kept, so densities of token entropy and sentences are "
            "left out."
        )
        return {}, Replay(), [reason]
    mine = [sequence for sequence in kept[backbone] if sequence["t"] == t]
    sizes = three_sizes(study, verdict, backbone, sorted({sequence["train_size"] for sequence in mine}))
    densities, notes = densities_drawing(mine, sizes, t, backbone), []
    if densities is None:
        notes.append("The restored sequences hold no entropy of corrupted tokens, so their densities are left out.")
    chosen = {split: text.choose(mine, sizes, split, t) for split in ("train", "test")}
    shown = listed([count(size) for size in sizes])
    notes += [
        f"No {split} row was kept at all of the sizes {shown}, so none is shown as text."
        for split, sentence in chosen.items()
        if sentence is None
    ]
    if len(study.backbones) > 1:
        notes.append(f"Densities and sentences are those of {backbone}.")
    sentences = [sentence for sentence in chosen.values() if sentence]
    drawn = sentences_drawing(sentences, backbone) if sentences else None
    replay = Replay(sentences, restorations(kept), story(kept[backbone]))
    return {"densities": densities, "sentences": drawn}, replay, notes


def _from_basins(study: Study, verdict: Estimates, basins: pa.Table | None) -> dict[str, Drawing | None]:
    """Return the figures of single rows."""
    for backbone in study.backbones:
        if rows := study.rows_behind(basins, "basin", backbone):
            sizes = three_sizes(study, verdict, backbone, sorted({row["train_size"] for row in rows}))
            draw = {"basins": basins_drawing, "margins": margins_drawing}
            return {name: drawing(study, rows, sizes, backbone) for name, drawing in draw.items()}
    return {}


def _write_figure(folder: Path, drawing: Drawing) -> None:
    """Write the files of a figure."""
    for suffix, content in drawing.files():
        write_atomically(folder / f"{drawing.name}{suffix}", partial(Path.write_bytes, data=content))


def _latex(drawing: Drawing) -> str:
    """Return the figure environment of LaTeX with the caption."""
    signs: dict[str, str | int | None] = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    caption = drawing.caption.strip().translate(str.maketrans(signs | {sign: f"\\{sign}" for sign in "&%$#_{}"}))
    kind, name = ("figure", f"{drawing.name}-column.pdf") if drawing.is_narrow else ("figure*", f"{drawing.name}.pdf")
    lines = [rf"\begin{{{kind}}}", r"  \centering", rf"  \includegraphics[width=\linewidth]{{{name}}}"]
    return "\n".join([*lines, rf"  \caption{{{caption}}}", rf"  \label{{fig:{drawing.name}}}", rf"\end{{{kind}}}", ""])
