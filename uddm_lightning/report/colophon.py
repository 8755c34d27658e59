"""The end of the page: notes, what was measured, definitions, how to cite, and files."""

from collections.abc import Mapping, Sequence

from uddm_lightning.report.elements import folded
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.formatting import count, decimal, escaped, listed
from uddm_lightning.results.study import Study

_BIBTEX = """@article{pham2026language,
  title   = {Language Diffusion Models are Associative Memories Capable of Retrieving Unseen Data},
  author  = {Pham, Bao and Zaki, Mohammed J. and Ambrogioni, Luca and Krotov, Dmitry and Negri, Matteo},
  journal = {arXiv preprint arXiv:2604.26841},
  year    = {2026}
}
@software{uddm_lightning,
  title  = {uddm\\_lightning},
  author = {{The uddm\\_lightning authors}}
}"""
_TABLES, _CAPTIONS = ("measurements.csv", "transition.json", "columns.json"), "figures/captions.tex"


def colophon(
    study: Study,
    verdict: Estimates,
    missing: Sequence[str],
    about: Mapping[str, str],
    terms: Mapping[str, str],
    has_captions: bool = True,
) -> str:
    """Return notes, a list of what was measured, the definitions of terms, BibTeX, and links to the tables.

    Args:
        study: the measurements.
        verdict: estimates and regimes.
        missing: a sentence for each missing figure.
        about: more entries for "What was measured".
        terms: definitions of terms.
        has_captions: whether the captions for LaTeX stand beside the page.
    """
    names: dict[str, list[str]] = {}  # of each definition
    for name, text in sorted(terms.items()):
        names.setdefault(text, []).append(name)
    entries = "".join(f"<dt>{escaped(', '.join(of))}</dt><dd>{escaped(text)}</dd>" for text, of in names.items())
    links = " · ".join(f'<a href="{name}">{name}</a>' for name in (*_TABLES, *([_CAPTIONS] if has_captions else [])))
    return "\n".join(
        [
            _notes(verdict, study, missing),
            _measured(study, about),
            folded("Terms", f"<dl>{entries}</dl>") if entries else "",
            folded("How to cite", f"<pre>{escaped(_BIBTEX.strip()).replace('⏎', chr(10))}</pre>"),
            f'<p class="quiet">Files beside this page: {links}</p>',
        ]
    )


def _notes(verdict: Estimates, study: Study, missing: Sequence[str]) -> str:
    """Return the notes of transition.json that no figure shows, and the reasons for missing figures."""
    estimates = (one for name in study.backbones for one in verdict.estimates(name))
    endings = tuple(f"{reason}." for one in estimates for reason in one.reasons.values())
    notes = list(dict.fromkeys([*(note for note in verdict.notes if not note.endswith(endings)), *missing]))
    return (
        '<h2 id="notes">Notes</h2><ul>' + "".join(f"<li>{escaped(note)}</li>" for note in notes) + "</ul>"
        if notes
        else ""
    )


def _measured(study: Study, about: Mapping[str, str]) -> str:
    sampler, steps = (", ".join(study.values(name, "recovery")) for name in ("sampler", "sampler_steps"))
    rows, draws = (_span(study.values(name, "recovery")) for name in ("n_rows", "n_draws"))
    entries = {
        "models": listed([f"{name} ({size:,} parameters)" for name, size in study.parameters.items()]),
        "sizes": ", ".join(count(size) for size in study.sizes) + " rows",
        "seeds": ", ".join(map(str, study.seeds)),
        "weights": ", ".join(study.values("weights")),
        "training step": ", ".join(f"{int(step):,}" for step in study.values("step")),
        "sampler": f"{sampler} on {steps} steps",
        "rows": f"{rows} distinct rows and {draws} draws for each number",
        "recovery at": ", ".join(f"t = {t:g}" for t in study.times("recovery")),
        "entropy at": ", ".join(f"t = {t:g}" for t in study.times("entropy")),
        "NELBO": f"on t in {listed(study.ranges())}" if study.ranges() else "not measured",
    }
    if wide := study.ranges("nelbo_extrapolated"):
        entries["NELBO, extrapolated"] = f"on t in {listed(wide)}; the network was trained on a part of it"
    if not study.values("metric", "recovery"):
        entries |= dict.fromkeys(("sampler", "rows", "recovery at"), "recovery was not measured")
    lines = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in {**entries, **about}.items())
    return f'<h2 id="measured">What was measured</h2><dl>{lines}</dl>'


def _span(values: Sequence[str]) -> str:
    """Return the ends of ascending numbers."""
    return " to ".join(f"{int(value):,}" for value in dict.fromkeys([*values[:1], *values[-1:]])) or decimal(None)
