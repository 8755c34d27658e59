"""One document, one row.

Shapes: N rows, R positions of a row that text may take.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from typing_extensions import override

from uddm_lightning.data.packing.base import BLOCK_ROWS, Block, EncodedDocument, Packing, glue
from uddm_lightning.data.tokenizers.base import Tokenizer


class DocumentPacking(Packing):
    """Puts begin and end around each document; the end of a longer one is cut off, a shorter one is padded.

    Args:
        length: positions of a row, special ones included.
    """

    @override
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[Block]:
        self.room(tokenizer)
        block: list[EncodedDocument] = []
        for document in documents:
            if any(document):
                block.append(document)
            if len(block) == BLOCK_ROWS:
                yield self._rows(block, tokenizer)
                block = []
        if block:
            yield self._rows(block, tokenizer)

    def _rows(self, documents: list[EncodedDocument], tokenizer: Tokenizer) -> Block:
        room = self.room(tokenizer)
        between = glue(tokenizer)
        pieces_NR = np.full((len(documents), room), tokenizer.pad_id or 0, dtype=np.int64)
        separators_NR = np.zeros((len(documents), room), dtype=np.bool_)
        lengths_N = np.zeros(len(documents), dtype=np.int64)
        cut_documents = cut_tokens = 0
        for row, document in enumerate(documents):
            ids: list[int] = []
            for number, sentence in enumerate(document):
                if number > 0:
                    if tokenizer.separator_id is not None and len(ids) < room:
                        separators_NR[row, len(ids)] = True
                    ids.extend(between)
                ids.extend(sentence)
            kept = min(len(ids), room)
            pieces_NR[row, :kept] = ids[:kept]
            lengths_N[row] = kept
            cut_documents += len(ids) > room
            cut_tokens += len(ids) - kept
        block = self.frame(pieces_NR, separators_NR, tokenizer, lengths_N)
        return block._replace(cut_documents=cut_documents, cut_tokens=cut_tokens)
