"""Definitions of terms on the page."""

from uddm_lightning.report.terms import definitions
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study


def test_every_declared_column_and_every_size_is_defined(study: Study) -> None:
    found = definitions(study)
    columns = [column.name for one in study.declared for column in one.columns]
    assert columns
    assert {name.replace("_", " ") for name in columns} <= found.keys()
    assert found["recovery"].endswith("[share].")
    assert found["wrong after, test"] == found["errors after"]
    for name in SIZES.values():
        assert found[name] == found[f"{name} (95 % interval)"] != ""
    assert all(text[0].isupper() and text.endswith(".") for text in found.values())


def test_columns_that_were_not_declared_are_not_defined() -> None:
    assert definitions(Study([])).keys() == {
        name for size in SIZES.values() for name in (size, f"{size} (95 % interval)")
    }
