"""Tables of the page that belong to no figure: agreement of methods, chains, and the own-token leak."""

from collections.abc import Mapping

from uddm_lightning.report.elements import numbers, table_of
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.chains import chains_table
from uddm_lightning.report.figures.drawing import Table
from uddm_lightning.report.figures.plotting import by_size, spelled
from uddm_lightning.report.formatting import answer, count, decimal, time, with_interval
from uddm_lightning.results.study import Study


def agreement_section(study: Study, verdict: Estimates, terms: Mapping[str, str]) -> str:
    """Return the table of the ratios of N_half by entropy and by recovery, by t."""
    rows = []
    for backbone in study.backbones:
        for entry in verdict.agreement(backbone):
            halves = (entry["recovery"], entry["entropy"])
            sizes = [decimal(None) if half is None else count(half) for half in halves]
            ratio = with_interval(entry["ratio"], entry["low"], entry["high"], digits=2)
            rows.append([backbone, time(entry["t"]), *sizes, ratio, answer(entry["agree"]), entry["reason"] or ""])
    if not rows:
        return ""
    head = ["model", "t", "by recovery", "by entropy", "ratio (95 % interval)", "within a factor of 2", "reason"]
    return f"<h3>N_half by recovery and by entropy of train rows</h3>{table_of(Table(head, rows), terms)}"


def chains_section(study: Study, terms: Mapping[str, str]) -> str:
    """Return the table of recovery by each sampler, if there are several; figures and estimates use the first."""
    table = chains_table(study)
    return f"<h3>Recovery by other chains</h3>{table_of(table, terms)}" if table else ""


def leak_section(study: Study, terms: Mapping[str, str]) -> str:
    """Return the table of the own-token leak, by size."""
    splits, times = ("train", "test", "samples"), study.times("entropy")
    rows = []
    for backbone in [*study.backbones, *study.oracles]:
        t = next((t for t in times if study.column("self_token_influence", "entropy", backbone, "train", t)), None)
        columns = [by_size(study.column("self_token_influence", "entropy", backbone, s, t)) for s in splits]
        sizes = sorted(set().union(*columns))
        rows += [[backbone, count(size), *(spelled(column.get(size)) for column in columns)] for size in sizes]
    if not rows:
        return ""
    return (
        '<section id="leak"><h3>Own-token leak</h3><p>The leave-one-out prediction of a token must not depend on the '
        "token at its own position. The leak is the total variation by which it changes when only that token is "
        "redrawn: 0 for an exact leave-one-out prediction, at most 1. NELBO, chain and entropy are exact only at 0.</p>"
        f"{numbers(Table(['model', 'N', 'train rows', 'test rows', 'own samples'], rows), terms)}</section>"
    )
