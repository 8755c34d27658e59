"""Tables of the page that belong to no figure."""

from typing import Any

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.more import agreement_section, chains_section, leak_section
from uddm_lightning.results.study import Study


def test_methods_are_compared_by_their_ratio(study: Study, verdict: Estimates) -> None:
    entries: list[dict[str, Any]] = verdict.agreement("DiT")
    made = agreement_section(study, verdict, {})
    assert made.count("<tr>") == 1 + len(entries) > 1
    assert agreement_section(study, Estimates({}), {}) == ""


def test_the_leak_has_a_row_for_each_size(study: Study) -> None:
    made = leak_section(study, {})
    assert made.count("<tr>") == 1 + len(study.sizes)
    assert leak_section(Study([]), {}) == ""


def test_one_chain_needs_no_table(study: Study) -> None:
    assert chains_section(study, {}) == ""
