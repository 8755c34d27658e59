"""The findings of an audit in sentences and tables of text. The first sentence says whether the split is confounded."""

from typing import Any, NamedTuple

from uddm_lightning.report.figures.drawing import Table
from uddm_lightning.report.formatting import count, decimal, percent, with_interval

SIGNIFICANT = 0.05


class Findings(NamedTuple):
    """Statements of an audit, in the order in which they are read.

    Attributes:
        sentences: the findings, the state of the split first.
        tables: tables of numbers by title.
    """

    sentences: list[str]
    tables: dict[str, Table]

    def text(self) -> str:
        """Return the sentences, followed by the tables in columns of text."""
        sections = [f"{title}\n{_text_table(table)}" for title, table in self.tables.items()]
        return "\n".join([*self.sentences, "", *sections]) + "\n"


def findings(found: dict[str, Any]) -> Findings:
    """Return the statements of the result of `audit`."""
    sentences = [_split(found["membership"]), _membership(found), *_few(found)]
    tables = {"Membership": _membership_table(found["membership"])}
    if found["extraction"]:
        sentences.append(_extraction(found["extraction"]))
        tables["Extraction"] = _extraction_table(found["extraction"])
        tables["(n, p)-extraction"] = _probability_table(found["extraction"])
    if found["canaries"]:
        sentences.append(_canaries(found["canaries"]))
        tables["Canaries"] = _canary_table(found["canaries"])
    return Findings(sentences, tables)


def _split(membership: dict[str, Any]) -> str:
    if membership["confounded"] is None:
        return (
            "It is undetermined whether the split is confounded: members or nonmembers are from a single document, so "
            "that no classifier of the text can be tested on another one."
        )
    auc = _interval(membership["blind_baseline"]["auc"])
    if membership["confounded"]:
        return (
            f"THE SPLIT IS CONFOUNDED: a classifier that sees only the text separates members from nonmembers, AUC "
            f"{auc}. The scores of the model below may differ for the same reason and prove nothing about its training "
            "data. Choose nonmembers from the same source, time and format."
        )
    return f"No evidence that the split is confounded: AUC {auc} of a classifier that sees only the text."


def _membership(found: dict[str, Any]) -> str:
    test = found["membership"]["dataset_test"]
    entry = found["membership"]["scores"][test["score"]]
    higher = test["p_value"] < SIGNIFICANT
    start = "The model scores" if higher else "No evidence that the model scores"
    return (
        f"{start} members higher than nonmembers: p = {_p(test['p_value'])} by permutation, corrected for "
        f"{test['tests']} scores. The strongest score is {_words(test['score'])}, AUC {_interval(entry['auc'])}."
    )


def _few(found: dict[str, Any]) -> list[str]:
    number = found["nonmembers"]["sequences"]
    notes = []
    if number < 1000:
        notes.append(
            f"There are {count(number)} nonmembers: a false positive rate of 0.1 % needs 1,000, and with fewer the TPR "
            "at this rate is that without any false positive."
        )
    if found["duplicates_left_out"]:
        notes.append(f"{count(found['duplicates_left_out'])} nonmembers that equal a member were left out.")
    return notes


def _extraction(extraction: dict[str, Any]) -> str:
    parts = []
    for kind, by_group in extraction.items():
        rates = [percent(by_group[group]["extracted"]["value"]) for group in ("members", "nonmembers")]
        parts.append(f"{kind} {rates[0]} (unseen text {rates[1]})")
    attempts = next(iter(extraction.values()))["members"]["attempts"]
    return f"Members that are restored verbatim in one of {attempts} attempts, by hidden part: {', '.join(parts)}."


def _canaries(canaries: dict[str, Any]) -> str:
    steps = [
        f"{decimal(one['exposure']['value'], 1)} bits for {one['repetitions']}" for one in canaries["by_repetitions"]
    ]
    return (
        f"Mean exposure of canaries, by repetitions: {', '.join(steps)}. A row that was never planted has "
        f"{decimal(canaries['exposure_by_chance'], 1)} bits on average, and the highest possible value is "
        f"{decimal(canaries['highest_exposure'], 1)} bits."
    )


def _membership_table(membership: dict[str, Any]) -> Table:
    head = ["score", "AUC (95 % interval)", "TPR at FPR 1 %", "TPR at FPR 0.1 %", "p"]
    rows = []
    entries = {_words(name): entry for name, entry in membership["scores"].items()}
    if membership["blind_baseline"]:
        entries = {"text alone (blind baseline)": membership["blind_baseline"]} | entries
    for name, entry in entries.items():
        rates = [_interval(entry["tpr_at_fpr"][fpr]) for fpr in ("0.01", "0.001")]
        rows.append([name, _interval(entry["auc"]), *rates, _p(entry["p_value"]) if "p_value" in entry else "-"])
    return Table(head, rows)


def _extraction_table(extraction: dict[str, Any]) -> Table:
    head = ["hidden", "group", "sequences", "verbatim in one attempt", "verbatim in any attempt", "tokens right"]
    rows = []
    for kind, by_group in extraction.items():
        for group, one in by_group.items():
            rates = [_interval(one[name]) for name in ("verbatim", "extracted", "tokens_right")]
            rows.append([kind, group, count(one["sequences"]), *rates])
    return Table(head, rows)


def _probability_table(extraction: dict[str, Any]) -> Table:
    rows = [
        [kind, f"{pair['n']}", f"{pair['p']:g}", _interval(pair), _interval(other)]
        for kind, by_group in extraction.items()
        for pair, other in zip(by_group["members"]["n_p"], by_group["nonmembers"]["n_p"], strict=True)
    ]
    return Table(["hidden", "n", "p", "members", "nonmembers"], rows)


def _canary_table(canaries: dict[str, Any]) -> Table:
    rows = [
        [f"{one['repetitions']}", f"{one['canaries']}", _interval(one["exposure"], 2), _interval(one["recovery"])]
        for one in canaries["by_repetitions"]
    ]
    return Table(["repetitions", "canaries", "exposure in bits", "recovery"], rows)


def _interval(interval: dict[str, float | None], digits: int = 3) -> str:
    return with_interval(interval["value"], interval["low"], interval["high"], digits)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.1e}"


def _text_table(table: Table) -> str:
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
