"""The detokenizer of LM1B."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.detokenized_text import LM1B, TEXTS
from uddm_lightning.data import LM1BDetokenizer


@pytest.mark.parametrize(("given_", "expected"), LM1B)
def test_lm1b_by_example(given_: str, expected: str) -> None:
    assert LM1BDetokenizer()(given_) == expected


@pytest.mark.parametrize("expected", [expected for _, expected in LM1B[:9] if "'" not in expected])
def test_detokenized_text_is_unchanged(expected: str) -> None:
    assert LM1BDetokenizer()(expected) == expected


@settings(max_examples=60, deadline=None)
@given(TEXTS | st.text())
def test_lm1b_removes_only_spaces(text: str) -> None:
    found = LM1BDetokenizer()(text)
    rest = iter(text)
    assert all(any(there == sign for there in rest) for sign in found), "in order"
    assert found.replace(" ", "") == text.replace(" ", "")


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_repeated_passes_converge(text: str) -> None:
    """Each pass removes characters or changes nothing, so repetition ends."""
    detokenizer = LM1BDetokenizer()
    for _ in range(len(text) + 1):
        before, text = text, detokenizer(text)
        if text == before:
            break
        assert len(text) < len(before)
    assert detokenizer(text) == text
