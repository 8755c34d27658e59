"""WrappedPacking: a stream of tokens cut into rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.packing import BOS, EOS, SEP, Marks, documents, joined, names, pack_in_blocks, together
from uddm_lightning.data import WrappedPacking


@given(documents, names, st.integers(2, 9), st.integers(1, 3))
@settings(max_examples=120, deadline=None)
def test_wrapped_packing_drops_only_the_incomplete_last_row(
    documents: list[list[list[int]]], has: str, length: int, block_rows: int
) -> None:
    tokenizer = Marks(has)
    ends = ("begin" in has) + ("end" in has)
    if length <= ends:
        return
    blocks = pack_in_blocks(WrappedPacking(length), documents, tokenizer, block_rows)
    rows, special = together(blocks, length)
    text = joined([sentence for document in documents for sentence in document], tokenizer)
    room = length - ends
    assert len(rows) == len(text) // room
    first, last = int("begin" in has), room + int("begin" in has)
    assert [number for row in rows for number in row[first:last]] == text[: len(rows) * room]
    assert all(row[0] == BOS for row in rows) or "begin" not in has
    assert all(row[-1] == EOS for row in rows) or "end" not in has
    if special is not None:
        # no text of this test spells a special id, so ids and mask must agree here
        assert special == [[number in (BOS, EOS, SEP) for number in row] for row in rows]
    assert (special is None) == (not rows or has in ("joiner", "nothing"))
    # the document of each id, that of the sentence after it where it is a separator
    between = joined([[], []], tokenizer)
    owners: list[int] = []
    for number, document in enumerate(documents):
        for sentence in document:
            owners += [number] * (len(sentence) + (len(between) if owners else 0))
    found = [number for block in blocks if block.documents_N is not None for number in block.documents_N.tolist()]
    assert found == owners[: len(rows) * room : room]


def test_a_long_sentence_is_packed_in_chunks() -> None:
    sentence = [number % 7 for number in range(10 * 4096 + 2)]
    blocks = list(WrappedPacking(4).pack([[[8], sentence]], Marks("nothing")))
    assert [len(block.tokens_NL) for block in blocks] == [4096, 4096, 2048]
    assert np.concatenate([block.tokens_NL for block in blocks]).flatten().tolist() == [8, *sentence[:-3]]
