"""The glossary agrees with the declarations."""

from uddm_lightning.probes.glossary import COMMON, PATH, glossary, shipped
from uddm_lightning.results import tables


def test_the_glossary_is_up_to_date() -> None:
    written = PATH.read_text(encoding="utf-8")
    assert written == glossary(shipped()), "run `python -m uddm_lightning.probes.glossary`"


def test_it_defines_every_column() -> None:
    text = glossary(shipped())
    assert tuple(column.name for column in COMMON) == tables.COMMON
    for column in (column for kind in shipped() for column in kind.columns):
        assert f"| `{column.name}`" in text
        assert column.meaning.replace("|", "\\|") in text
    for kind in shipped():
        assert kind.reading
        assert f"## {kind.title}\n" in text
