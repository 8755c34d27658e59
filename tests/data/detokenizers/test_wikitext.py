"""The detokenizer of WikiText."""

import pytest

from tests.support.detokenized_text import WIKITEXT
from uddm_lightning.data import WikiTextDetokenizer


@pytest.mark.parametrize(("given_", "expected"), WIKITEXT)
def test_wikitext_by_example(given_: str, expected: str) -> None:
    assert WikiTextDetokenizer()(given_) == expected
