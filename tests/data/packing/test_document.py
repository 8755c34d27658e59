"""DocumentPacking: one document per row."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.packing import BOS, EOS, PAD, SEP, Marks, documents, joined, names, pack_in_blocks, together
from uddm_lightning.data import DocumentPacking


@given(documents, names, st.integers(2, 9), st.integers(1, 3))
@settings(max_examples=120, deadline=None)
def test_a_document_is_a_row(documents: list[list[list[int]]], has: str, length: int, block_rows: int) -> None:
    tokenizer = Marks(has)
    ends = ("begin" in has) + ("end" in has)
    if length <= ends:
        return
    blocks = pack_in_blocks(DocumentPacking(length), documents, tokenizer, block_rows)
    rows, special = together(blocks, length)
    lengths = [number for block in blocks if block.lengths_N is not None for number in block.lengths_N.tolist()]
    texts = [joined(document, tokenizer) for document in documents if document]
    room = length - ends
    expected = []
    for text in texts:
        row = ([BOS] if "begin" in has else []) + text[:room] + ([EOS] if "end" in has else [])
        expected.append(row + [PAD] * (length - len(row)))
    assert rows == expected
    assert lengths == [min(len(text), room) + ends for text in texts]
    assert all(block.documents_N is None for block in blocks), "every row is a document"
    assert sum(block.truncated_documents for block in blocks) == sum(len(text) > room for text in texts)
    assert sum(block.truncated_tokens for block in blocks) == sum(max(0, len(text) - room) for text in texts)
    if special is not None:
        assert special == [[number in (BOS, EOS, SEP) for number in row] for row in rows]
