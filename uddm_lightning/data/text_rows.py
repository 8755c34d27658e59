"""Lines of a text file as rows, to be restored.

Shapes: N rows, B of them asked for; L positions of a row, R of which text may take.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.fingerprints import changed, file_hash
from uddm_lightning.data.notices import notice
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.sources.reading import read_lines
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import Losses, sentence


class TextRows:
    """Each non-empty line of a UTF-8 file as a row of its own, or as several if it is long; padded at the end.

    A line has the ids that it has as a line of a training document.

    Args:
        path: the file.
        tokenizer: fitted.
        packing: gives the length, and puts begin and end.

    Attributes:
        lines: number of the line, from 1, that each row comes from.

    Raises:
        InputError: the file is missing or no UTF-8, changed while it was read, or holds nothing that the tokenizer
            knows.
    """

    def __init__(self, path: str, tokenizer: Tokenizer, packing: Packing) -> None:
        content, lines = file_hash(Path(path)), list(read_lines(Path(path)))
        if file_hash(Path(path)) != content:
            raise changed(f"`{path}`")
        self._encode(lines, tokenizer, packing, f"`{path}`")

    @classmethod
    def from_texts(cls, texts: Sequence[str], tokenizer: Tokenizer, packing: Packing) -> "TextRows":
        """Return the rows of texts, as if each were a line of a file; `lines` then numbers the texts from 1."""
        rows = cls.__new__(cls)
        rows._encode(texts, tokenizer, packing, "`texts`")
        return rows

    def _encode(self, texts: Sequence[str], tokenizer: Tokenizer, packing: Packing, name: str) -> None:
        room = packing.room(tokenizer)
        numbered = [(number, line) for number, line in enumerate(texts, 1) if line.strip()]
        lines = [line for _, line in numbered]
        encoded, losses = tokenizer.encode(lines), Losses()
        tokenizer.count_lost(lines, encoded, losses)
        lost = sentence(losses.meta(), tokenizer.blamed, name)
        pieces: list[list[int]] = []
        self.lines: list[int] = []
        for (number, _), ids in zip(numbered, encoded, strict=True):
            for start in range(0, len(ids), room):
                pieces.append(ids[start : start + room])
                self.lines.append(number)
        if not pieces:
            why = f" ({lost})" if lost else ""
            raise InputError(f"{name} holds no text to restore{why}; write one passage per line.")
        if lost:
            notice(f"{lost}.")
        pieces_NR = np.full((len(pieces), room), tokenizer.pad_id or 0, dtype=np.int64)
        for row, ids in enumerate(pieces):
            pieces_NR[row, : len(ids)] = ids
        lengths_N = np.array([len(ids) for ids in pieces])
        self._block = packing.frame(pieces_NR, np.zeros(pieces_NR.shape, dtype=np.bool_), tokenizer, lengths_N)

    def __len__(self) -> int:
        return len(self.lines)

    def tokens(self, ids: Tensor) -> Tensor:
        """Ids (B, L), int64, of the rows `ids` (B,)."""
        return torch.from_numpy(self._block.tokens_NL)[ids]

    def special(self, ids: Tensor) -> Tensor | None:
        """True (B, L) where the packing put a begin or end; None where it puts none."""
        return None if self._block.special_NL is None else torch.from_numpy(self._block.special_NL)[ids]

    def valid(self, ids: Tensor) -> Tensor | None:
        """False (B, L) at padding."""
        assert self._block.lengths_N is not None
        return torch.arange(self._block.tokens_NL.shape[1]) < torch.from_numpy(self._block.lengths_N)[ids, None]

    def documents(self, ids: Tensor) -> Tensor:
        """Numbers (B,), int64, of the lines that rows are from."""
        return torch.tensor(self.lines)[ids]
