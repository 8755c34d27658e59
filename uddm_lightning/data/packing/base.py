"""The contract of a packing: encoded documents in, rows of one length out.

Shapes: N rows, L positions of a row, R positions of a row that text may take.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.component_spec import describe
from uddm_lightning.data.newlines import split_lines
from uddm_lightning.data.tokenizers.base import Tokenizer

EncodedDocument: TypeAlias = list[list[int]]  # ids of each sentence

BLOCK_ROWS = 4096  # rows that are packed at a time


class Block(NamedTuple):
    """Some rows.

    Attributes:
        tokens_NL: int64 ids.
        special_NL: bool, True where the packing put a begin, end or separator; None where it puts none.
        lengths_N: int64 positions that are not padding; None where there is no padding.
        cut_documents: documents whose end did not fit.
        cut_tokens: tokens that were lost that way.
        documents_N: int64 number of the document that the first token of each row is from, not descending; None where
            every row is a document.
    """

    tokens_NL: NDArray[np.int64]
    special_NL: NDArray[np.bool_] | None
    lengths_N: NDArray[np.int64] | None
    cut_documents: int = 0
    cut_tokens: int = 0
    documents_N: NDArray[np.int64] | None = None


class Packing(ABC):
    """Lays documents into rows.

    Args:
        length: positions of a row, special ones included.
    """

    def __init__(self, length: int) -> None:
        if length < 2:
            raise ValueError(f"`length` must be at least 2, got {length}.")
        self.length = length

    def sentences(self, text: str) -> list[str]:
        """The parts of a document that are encoded one by one, and joined by separators: its non-empty lines."""
        return [line for line in split_lines(text) if line.strip()]

    @abstractmethod
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[Block]:
        """Rows of the documents, in order, as blocks of about `BLOCK_ROWS`.

        Raises:
            InputError: `length` has no room for text.
        """

    def spec(self) -> dict[str, Any]:
        """What determines the result; JSON-able."""
        return describe(self)

    def room(self, tokenizer: Tokenizer) -> int:
        """R: positions of a row that are left for text."""
        ends = (tokenizer.bos_id is not None) + (tokenizer.eos_id is not None)
        if self.length <= ends:
            raise InputError(
                f"`data.packing.length` is {self.length}, but begin and end of a row take {ends} of it; "
                f"choose at least {ends + 1}."
            )
        return self.length - ends

    def frame(
        self,
        pieces_NR: NDArray[np.int64],
        separators_NR: NDArray[np.bool_],
        tokenizer: Tokenizer,
        lengths_N: NDArray[np.int64] | None = None,
    ) -> Block:
        """Puts begin and end around pieces of text.

        Args:
            pieces_NR: ids.
            separators_NR: True where the packing put a separator.
            tokenizer: knows the ids of begin and end, if there are any.
            lengths_N: tokens of each piece; what follows is padding. None where all pieces are full.
        """
        bos, eos = tokenizer.bos_id, tokenizer.eos_id
        first = int(bos is not None)
        rows, room = pieces_NR.shape
        tokens_NL = np.full((rows, self.length), tokenizer.pad_id or 0, dtype=np.int64)
        special_NL = np.zeros((rows, self.length), dtype=np.bool_)
        tokens_NL[:, first : first + room] = pieces_NR
        special_NL[:, first : first + room] = separators_NR
        if bos is not None:
            tokens_NL[:, 0], special_NL[:, 0] = bos, True
        end_N = first + (np.full(rows, room) if lengths_N is None else lengths_N)
        if eos is not None:
            tokens_NL[np.arange(rows), end_N], special_NL[np.arange(rows), end_N] = eos, True
        marked = any(name is not None for name in (bos, eos, tokenizer.separator_id))
        return Block(
            tokens_NL,
            special_NL if marked else None,
            None if lengths_N is None else end_N + int(eos is not None),
        )


def glue(tokenizer: Tokenizer) -> list[int]:
    """Ids between two sentences."""
    return tokenizer.joiner if tokenizer.separator_id is None else [tokenizer.separator_id]
