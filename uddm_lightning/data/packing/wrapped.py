"""One long text, cut into rows.

Shapes: N rows, R positions of a row that text may take.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from typing_extensions import override

from uddm_lightning.data.packing.base import BLOCK_ROWS, Block, EncodedDocument, Packing, glue
from uddm_lightning.data.tokenizers.base import Tokenizer


class WrappedPacking(Packing):
    """Joins all sentences by the separator, cuts them into pieces and puts begin and end around each.

    Every row is full; nothing is lost but what is left over at the very end.

    Args:
        length: positions of a row, special ones included.
        sentence: what a sentence is: each non-empty line, or the whole document, whose line breaks are then text.
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
    def pack(self, documents: Iterable[EncodedDocument], tokenizer: Tokenizer) -> Iterator[Block]:
        room = self.room(tokenizer)
        between = glue(tokenizer)
        separated = tokenizer.separator_id is not None
        ids: list[int] = []
        separators: list[int] = []  # their places in `ids`
        begun: list[tuple[int, int]] = [(0, 0)]  # where documents begin in `ids`, and their numbers
        started = False

        def cut() -> Block:
            rows, used = len(ids) // room, len(ids) // room * room
            separators_NR = np.zeros(used, dtype=np.bool_)
            separators_NR[[place for place in separators if place < used]] = True
            pieces_NR = np.array(ids[:used], dtype=np.int64).reshape(rows, room)
            separators[:] = [place - used for place in separators if place >= used]
            places, numbers = np.array(begun).T
            documents_N = numbers[np.searchsorted(places, np.arange(0, used, room), side="right") - 1]
            last = int(np.searchsorted(places, used, side="right")) - 1
            begun[:] = [(max(place - used, 0), number) for place, number in begun[last:]]
            del ids[:used]
            block = self.frame(pieces_NR, separators_NR.reshape(rows, room), tokenizer)
            return block._replace(documents_N=documents_N)

        for number, document in enumerate(documents):
            if document:
                begun.append((len(ids), number))
            for sentence in document:
                if started:
                    if separated:
                        separators.append(len(ids))
                    ids.extend(between)
                started = True
                for start in range(0, len(sentence), room * BLOCK_ROWS):  # a sentence may be a whole library
                    ids.extend(sentence[start : start + room * BLOCK_ROWS])
                    if len(ids) >= room * BLOCK_ROWS:
                        yield cut()
        if len(ids) >= room:
            yield cut()
