"""Packing of the concatenated text.

Shapes: N rows, R positions of a row for text.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from typing_extensions import override

from uddm_lightning.data.packing.base import CHUNK_ROWS, EncodedDocument, PackedRows, Packing
from uddm_lightning.data.tokenizers.base import Tokenizer


class WrappedPacking(Packing):
    """Joins all sentences with separators, cuts the text into pieces and adds begin and end tokens to each piece.

    Every row is full. Only an incomplete last row is dropped.

    Args:
        length: positions of a row, including special tokens; at least 2.
        sentence: unit of a sentence. "line": each non-empty line. "document": the whole document, with its line breaks
            as text.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from uddm_lightning.data import CharacterTokenizer
        >>> [rows] = WrappedPacking(length=3).pack([[[0, 1, 2, 3]], [[4], [0]]], CharacterTokenizer("abcde"))
        >>> rows.tokens_NL, rows.documents_N
        (array([[0, 1, 2],
               [3, 4, 0]]), array([0, 0]))
    """

    def __init__(self, length: int, sentence: Literal["line", "document"] = "line") -> None:
        super().__init__(length)
        if sentence not in ("line", "document"):
            raise ValueError(f"`sentence` must be line or document, got {sentence!r}.")
        self.sentence = sentence

    @override
    def sentences(self, text: str) -> list[str]:
        return super().sentences(text) if self.sentence == "line" else [text] if text.strip() else []

    @override
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[PackedRows]:
        text_length = self.text_length(tokenizer)
        joiner_ids, has_separator = tokenizer.joiner_ids, tokenizer.separator_id is not None
        ids: list[int] = []
        separators: list[int] = []  # their positions in `ids`
        starts: list[tuple[int, int]] = [(0, 0)]  # position in `ids` and number of each document
        is_first = True

        def pop_rows() -> PackedRows:
            rows, used = len(ids) // text_length, len(ids) // text_length * text_length
            separators_NR = np.zeros(used, dtype=np.bool_)
            separators_NR[[position for position in separators if position < used]] = True
            pieces_NR = np.array(ids[:used], dtype=np.int64).reshape(rows, text_length)
            separators[:] = [position - used for position in separators if position >= used]
            positions, numbers = np.array(starts).T
            documents_N = numbers[np.searchsorted(positions, np.arange(0, used, text_length), side="right") - 1]
            last = int(np.searchsorted(positions, used, side="right")) - 1
            starts[:] = [(max(position - used, 0), number) for position, number in starts[last:]]
            del ids[:used]
            packed = self.add_special_tokens(pieces_NR, separators_NR.reshape(rows, text_length), tokenizer)
            return packed._replace(documents_N=documents_N)

        for number, document in enumerate(documents):
            if document:
                starts.append((len(ids), number))
            for sentence in document:
                if not is_first:
                    if has_separator:
                        separators.append(len(ids))
                    ids.extend(joiner_ids)
                is_first = False
                chunk = text_length * CHUNK_ROWS  # bounds the memory: a sentence may be a whole document
                for start in range(0, len(sentence), chunk):
                    ids.extend(sentence[start : start + chunk])
                    if len(ids) >= chunk:
                        yield pop_rows()
        if len(ids) >= text_length:
            yield pop_rows()
