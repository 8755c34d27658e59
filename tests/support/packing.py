"""Documents to pack and a tokenizer with chosen special ids."""

import sys

import pytest
from hypothesis import strategies as st

from uddm_lightning.data import CharacterTokenizer, PackedRows, Packing, Tokenizer

PAD, BOS, EOS, SEP = 90, 91, 92, 93
SPACE = 94
documents = st.lists(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), max_size=4), max_size=12)
names = st.sampled_from(["begin, end, separator", "separator", "end", "joiner", "nothing"])


class Marks(CharacterTokenizer):
    """A tokenizer with the given special ids."""

    def __init__(self, has: str) -> None:
        super().__init__("ab")
        self._has = has

    bos_id = property(lambda self: BOS if "begin" in self._has else None)
    eos_id = property(lambda self: EOS if "end" in self._has else None)
    separator_id = property(lambda self: SEP if "separator" in self._has else None)
    pad_id = property(lambda self: PAD)
    joiner_ids = property(lambda self: [SEP] if "separator" in self._has else [SPACE] if "joiner" in self._has else [])


def joined(sentences: list[list[int]], tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = []
    for number, sentence in enumerate(sentences):
        ids += (tokenizer.joiner_ids if number else []) + sentence
    return ids


def pack_in_blocks(
    packing: Packing, documents: list[list[list[int]]], tokenizer: Tokenizer, block_rows: int
) -> list[PackedRows]:
    """Pack documents with a given number of rows in a block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[type(packing).__module__], "CHUNK_ROWS", block_rows)
        return list(packing.pack(documents, tokenizer))


def together(blocks: list[PackedRows], length: int) -> tuple[list[list[int]], list[list[bool]] | None]:
    rows = [row for block in blocks for row in block.tokens_NL.tolist()]
    assert all(len(row) == length for row in rows)
    masks = [block.special_NL for block in blocks]
    if any(mask is None for mask in masks) or not masks:
        assert all(mask is None for mask in masks)
        return rows, None
    return rows, [row for mask in masks if mask is not None for row in mask.tolist()]
