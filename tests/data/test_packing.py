from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import Block, CharacterTokenizer, DocumentPacking, Tokenizer, WrappedPacking
from uddm_lightning.data.packing import document as document_module
from uddm_lightning.data.packing import wrapped as wrapped_module

PAD, BOS, EOS, SEP = 90, 91, 92, 93
SPACE = 94

documents = st.lists(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), max_size=4), max_size=12)
names = st.sampled_from(["begin, end, separator", "separator", "end", "joiner", "nothing"])


class Marks(CharacterTokenizer):
    """Has the special ids it is told to have."""

    def __init__(self, has: str) -> None:
        super().__init__("ab")
        self._has = has

    bos_id = property(lambda self: BOS if "begin" in self._has else None)
    eos_id = property(lambda self: EOS if "end" in self._has else None)
    separator_id = property(lambda self: SEP if "separator" in self._has else None)
    pad_id = property(lambda self: PAD)
    joiner = property(lambda self: [SPACE] if "joiner" in self._has else [])


def joined(sentences: list[list[int]], tokenizer: Tokenizer) -> list[int]:
    between = [SEP] if tokenizer.separator_id is not None else tokenizer.joiner
    ids: list[int] = []
    for number, sentence in enumerate(sentences):
        ids += (between if number else []) + sentence
    return ids


def together(blocks: list[Block], length: int) -> tuple[list[list[int]], list[list[bool]] | None]:
    rows = [row for block in blocks for row in block.tokens_NL.tolist()]
    assert all(len(row) == length for row in rows)
    masks = [block.special_NL for block in blocks]
    if any(mask is None for mask in masks) or not masks:
        assert all(mask is None for mask in masks)
        return rows, None
    return rows, [row for mask in masks if mask is not None for row in mask.tolist()]


@given(documents, names, st.integers(2, 9), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_wrapped_loses_nothing_but_the_last_row(
    documents: list[list[list[int]]], has: str, length: int, block_rows: int
) -> None:
    tokenizer = Marks(has)
    ends = ("begin" in has) + ("end" in has)
    if length <= ends:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapped_module, "BLOCK_ROWS", block_rows)
        blocks = list(WrappedPacking(length).pack(documents, tokenizer))
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


@given(documents, names, st.integers(2, 9), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_a_document_is_a_row(documents: list[list[list[int]]], has: str, length: int, block_rows: int) -> None:
    tokenizer = Marks(has)
    ends = ("begin" in has) + ("end" in has)
    if length <= ends:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_module, "BLOCK_ROWS", block_rows)
        blocks = list(DocumentPacking(length).pack(documents, tokenizer))
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
    assert sum(block.cut_documents for block in blocks) == sum(len(text) > room for text in texts)
    assert sum(block.cut_tokens for block in blocks) == sum(max(0, len(text) - room) for text in texts)
    if special is not None:
        assert special == [[number in (BOS, EOS, SEP) for number in row] for row in rows]


def test_a_sentence_as_long_as_a_book_is_packed_a_block_at_a_time() -> None:
    sentence = [number % 7 for number in range(10 * 4096 + 2)]
    blocks = list(WrappedPacking(4).pack([[[8], sentence]], Marks("nothing")))
    assert [len(block.tokens_NL) for block in blocks] == [4096, 4096, 2048]
    assert np.concatenate([block.tokens_NL for block in blocks]).flatten().tolist() == [8, *sentence[:-3]]


def test_special_positions_are_those_of_the_packing_not_of_ids() -> None:
    tokenizer = Marks("begin, end, separator")
    text = [[[SEP, 1], [BOS, EOS]]]
    for packing in (WrappedPacking(7), DocumentPacking(7)):
        (block,) = packing.pack(text, tokenizer)
        assert block.tokens_NL.tolist() == [[BOS, SEP, 1, SEP, BOS, EOS, EOS]]
        assert block.special_NL is not None
        assert block.special_NL.tolist() == [[True, False, False, True, False, False, True]]


def test_frame_of_full_rows() -> None:
    rows = np.arange(8).reshape(2, 4)
    block = WrappedPacking(6).frame(rows, rows < 0, Marks("begin, end, separator"))
    assert block.tokens_NL.tolist() == [[BOS, 0, 1, 2, 3, EOS], [BOS, 4, 5, 6, 7, EOS]]
    assert block.lengths_N is None


def test_lengths_that_leave_no_room() -> None:
    for packing in (WrappedPacking, DocumentPacking):
        with pytest.raises(ValueError, match="`length` must be at least 2, got 1"):
            packing(1)
        with pytest.raises(InputError, match=r"`data\.packing\.length` is 2, but begin and end .* choose at least 3"):
            list(packing(2).pack([[[1]]], Marks("begin, end")))


def test_spec_names_class_and_length() -> None:
    specs = [WrappedPacking(8).spec(), WrappedPacking(9).spec(), DocumentPacking(8).spec()]
    assert specs[0]["init_args"] == {"length": 8, "sentence": "line"}
    assert all(one != other for one, other in pairwise(specs))
