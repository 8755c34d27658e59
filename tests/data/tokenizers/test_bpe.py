"""BPETokenizer decodes what it encodes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import fitted
from uddm_lightning.data import BPETokenizer


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=100, deadline=None)
def test_bpe_is_lossless(text: str) -> None:
    assert BYTE_PAIRS.decode(BYTE_PAIRS.encode([text])[0]) == text


BYTE_PAIRS = fitted(BPETokenizer(280))
