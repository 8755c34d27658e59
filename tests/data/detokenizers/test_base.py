import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.detokenized_text import TEXTS
from tests.support.plugins import plugins
from uddm_lightning.data import Detokenizer, LM1BDetokenizer, WikiTextDetokenizer


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_what_is_skipped_would_not_have_matched(text: str) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        searched = type("Searched", (kind,), {"rules": tuple(rule._replace(about="") for rule in kind.rules)})
        assert searched()(text) == kind()(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_every_line_stands_for_itself(lines: list[str]) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        assert kind()("\n".join(lines)).split("\n") == [kind()(line) for line in lines]


def test_the_base_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Detokenizer()


def test_every_detokenizer_is_tested() -> None:
    assert set(plugins(Detokenizer)) == {LM1BDetokenizer, WikiTextDetokenizer}
