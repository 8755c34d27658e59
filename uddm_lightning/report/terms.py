"""Definitions of the terms of the page, from the declarations of the probes."""

from uddm_lightning.report.estimates import MEANINGS
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study

_HEADS = {  # heads of tables that are no names of columns
    "wrong before": "errors_before",
    "wrong after": "errors_after",
    "wrong before, test": "errors_before",
    "wrong after, test": "errors_after",
    "wrong tokens, test rows": "errors_after",
    "clean tokens changed": "clean_change_rate",
    "clean tokens changed, test": "clean_change_rate",
    "Bayes argmax": "bayes_argmax",
    "mean t_c": "critical_t",
    "that of novel samples": "novel_perplexity",
    "n-grams in that row": "nearest_overlap",
    "n-grams in any training row": "train_overlap",
    "positions that differ from the nearest training row": "nearest_distance",
    "memorized": "n_memorized",
    "spurious": "n_spurious",
    "novel": "n_novel",
}


def definitions(study: Study) -> dict[str, str]:
    """Return the definition of each term that heads a column, by the term."""
    columns = {column.name: column for one in study.declared for column in one.columns}
    found = {name.replace("_", " "): name for name in columns} | {
        head: name for head, name in _HEADS.items() if name in columns
    }
    texts = {
        head: f"{columns[name].meaning[:1].upper()}{columns[name].meaning[1:]} [{columns[name].unit}]."
        for head, name in found.items()
    }
    for name, meaning in MEANINGS.items():
        text = f"{meaning[:1].upper()}{meaning[1:]}."
        texts |= dict.fromkeys((SIZES[name], f"{SIZES[name]} (95 % interval)"), text)
    return texts
