"""Base class of packings.

Shapes: N rows, L positions of a row, R of them for text.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.core.errors import InputError, check_at_least
from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.newlines import split_lines
from uddm_lightning.data.tokenizers.base import Tokenizer

EncodedDocument: TypeAlias = list[list[int]]  # ids of each sentence

CHUNK_ROWS = 4096  # rows of one `PackedRows`


class PackedRows(NamedTuple):
    """Chunk of rows.

    Attributes:
        tokens_NL: int64 ids.
        special_NL: bool, True at begin, end and separator tokens; None if the packing adds none.
        lengths_N: int64 number of positions before the padding; None if there is no padding.
        truncated_documents: number of documents whose end did not fit.
        truncated_tokens: number of tokens that did not fit.
        documents_N: int64 document number of the first text token of each row, ascending; None if every row is a
            document.
    """

    tokens_NL: NDArray[np.int64]
    special_NL: NDArray[np.bool_] | None
    lengths_N: NDArray[np.int64] | None
    truncated_documents: int = 0
    truncated_tokens: int = 0
    documents_N: NDArray[np.int64] | None = None

    def select(self, mask_N: NDArray[np.bool_]) -> "PackedRows":
        """Return the rows where the mask is True, without counts of truncated documents and tokens."""
        return PackedRows(
            self.tokens_NL[mask_N],
            None if self.special_NL is None else self.special_NL[mask_N],
            None if self.lengths_N is None else self.lengths_N[mask_N],
            documents_N=None if self.documents_N is None else self.documents_N[mask_N],
        )


class Packing(ABC):
    """Arranges encoded documents in rows of equal length.

    Args:
        length: positions of a row, including special tokens; at least 2.

    Raises:
        ValueError: `length` is below 2.

    Example:
        >>> from uddm_lightning.data import CharacterTokenizer
        >>> class FirstSentencePacking(Packing):
        ...     def pack(self, documents, tokenizer):
        ...         width = self.text_length(tokenizer)
        ...         ids = [document[0][:width] for document in documents if len(document[0]) >= width]
        ...         pieces_NR = np.array(ids, dtype=np.int64)
        ...         yield self.add_special_tokens(pieces_NR, np.zeros(pieces_NR.shape, dtype=np.bool_), tokenizer)
        >>> [rows] = FirstSentencePacking(length=3).pack([[[0, 1, 2, 3]], [[4]]], CharacterTokenizer("abcde"))
        >>> rows.tokens_NL
        array([[0, 1, 2]])
    """

    def __init__(self, length: int) -> None:
        check_at_least(2, length=length)
        self.length = length

    def sentences(self, text: str) -> list[str]:
        """Return the sentences of a document: its non-empty lines. Each is encoded on its own."""
        return [line for line in split_lines(text) if line.strip()]

    @abstractmethod
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[PackedRows]:
        """Yield the rows of the documents, in order, in chunks of about `CHUNK_ROWS` rows.

        Raises:
            InputError: `length` leaves no position for text.
        """

    def spec(self) -> dict[str, Any]:
        """Return plain data that determine the result of the packing."""
        return component_spec(self)

    def text_length(self, tokenizer: Tokenizer) -> int:
        """Return R, the number of positions of a row between its begin and end tokens.

        Raises:
            InputError: R would be below 1.
        """
        ends = (tokenizer.bos_id is not None) + (tokenizer.eos_id is not None)
        if self.length <= ends:
            raise InputError(
                f"`data.packing.length` is {self.length}, but the begin and end tokens of a row take {ends} positions; "
                f"choose at least {ends + 1}."
            )
        return self.length - ends

    def add_special_tokens(
        self,
        pieces_NR: NDArray[np.int64],
        separators_NR: NDArray[np.bool_],
        tokenizer: Tokenizer,
        lengths_N: NDArray[np.int64] | None = None,
    ) -> PackedRows:
        """Return rows with the begin and end tokens of the tokenizer, if any, around pieces of text.

        Args:
            pieces_NR: int64 ids.
            separators_NR: bool, True at separators.
            tokenizer: defines the begin, end and padding tokens.
            lengths_N: number of tokens of each piece, before its padding; None if all pieces are full.
        """
        bos, eos = tokenizer.bos_id, tokenizer.eos_id
        first = int(bos is not None)
        rows, text_length = pieces_NR.shape
        tokens_NL = np.full((rows, self.length), tokenizer.pad_id or 0, dtype=np.int64)
        special_NL = np.zeros((rows, self.length), dtype=np.bool_)
        tokens_NL[:, first : first + text_length] = pieces_NR
        special_NL[:, first : first + text_length] = separators_NR
        if bos is not None:
            tokens_NL[:, 0], special_NL[:, 0] = bos, True
        end_N = first + (np.full(rows, text_length) if lengths_N is None else lengths_N)
        if eos is not None:
            tokens_NL[np.arange(rows), end_N], special_NL[np.arange(rows), end_N] = eos, True
        has_special = any(token is not None for token in (bos, eos, tokenizer.separator_id))
        return PackedRows(
            tokens_NL,
            special_NL if has_special else None,
            None if lengths_N is None else end_N + int(eos is not None),
        )
