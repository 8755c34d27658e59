"""Packing of one document per row.

Shapes: N rows, R positions of a row for text.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from typing_extensions import override

from uddm_lightning.data.batching import batch_by_count
from uddm_lightning.data.packing.base import CHUNK_ROWS, EncodedDocument, PackedRows, Packing
from uddm_lightning.data.tokenizers.base import Tokenizer


class DocumentPacking(Packing):
    """Puts each document in one row, between begin and end tokens; truncates long documents and pads short ones.

    Args:
        length: positions of a row, including special tokens; at least 2.

    Example:
        >>> from uddm_lightning.data import CharacterTokenizer
        >>> [rows] = DocumentPacking(length=3).pack([[[0, 1, 2, 3]], [[4]]], CharacterTokenizer("abcde"))
        >>> rows.tokens_NL, rows.lengths_N, rows.truncated_tokens
        (array([[0, 1, 2],
               [4, 0, 0]]), array([3, 1]), 1)
    """

    @override
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[PackedRows]:
        self.text_length(tokenizer)  # raises before the first document is read
        for chunk in batch_by_count(filter(any, documents), CHUNK_ROWS):
            yield self._pack_chunk(chunk, tokenizer)

    def _pack_chunk(self, documents: list[EncodedDocument], tokenizer: Tokenizer) -> PackedRows:
        text_length, joiner_ids = self.text_length(tokenizer), tokenizer.joiner_ids
        pieces_NR = np.full((len(documents), text_length), tokenizer.pad_id or 0, dtype=np.int64)
        separators_NR = np.zeros((len(documents), text_length), dtype=np.bool_)
        lengths_N = np.zeros(len(documents), dtype=np.int64)
        truncated_documents = truncated_tokens = 0
        for row, document in enumerate(documents):
            ids: list[int] = []
            for number, sentence in enumerate(document):
                if number > 0:
                    if tokenizer.separator_id is not None and len(ids) < text_length:
                        separators_NR[row, len(ids)] = True
                    ids.extend(joiner_ids)
                ids.extend(sentence)
            length = min(len(ids), text_length)
            pieces_NR[row, :length] = ids[:length]
            lengths_N[row] = length
            truncated_documents += len(ids) > text_length
            truncated_tokens += len(ids) - length
        rows = self.add_special_tokens(pieces_NR, separators_NR, tokenizer, lengths_N)
        return rows._replace(truncated_documents=truncated_documents, truncated_tokens=truncated_tokens)
