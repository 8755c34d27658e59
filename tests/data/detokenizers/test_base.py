import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.detokenized_text import TEXTS
from tests.support.plugins import plugins
from uddm_lightning.data import Detokenizer, LM1BDetokenizer, WikiTextDetokenizer


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_lines_skipped_by_the_literal_do_not_match(text: str) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        searched = type("Searched", (kind,), {"rules": tuple(rule._replace(literal="") for rule in kind.rules)})
        assert searched()(text) == kind()(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_lines_are_independent(lines: list[str]) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        assert kind()("\n".join(lines)).split("\n") == [kind()(line) for line in lines]


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Detokenizer()


def test_every_detokenizer_is_tested() -> None:
    assert set(plugins(Detokenizer)) == {LM1BDetokenizer, WikiTextDetokenizer}
