"""Lines of a text file as rows.

Shapes: N rows, B requested rows, L positions of a row, R of them for text.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.checksums import changed_while_read, file_hash
from uddm_lightning.data.notices import notice
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.sources.reading import read_lines
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import TokenizationLosses, loss_message


class TextRows:
    """Non-empty lines of text as rows, padded at the end. A long line gives several rows.

    A line gets the same ids as a line of a training document.

    Args:
        texts: the lines.
        tokenizer: fitted tokenizer.
        packing: defines the length of a row and adds begin and end tokens.
        name: name of the text in messages.

    Attributes:
        lines: line number of each row, from 1.

    Raises:
        InputError: there is no text that the tokenizer can encode.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, packing: Packing, name: str = "`texts`") -> None:
        text_length = packing.text_length(tokenizer)
        numbered = [(number, line) for number, line in enumerate(texts, 1) if line.strip()]
        lines = [line for _, line in numbered]
        encoded, losses = tokenizer.encode(lines), TokenizationLosses()
        tokenizer.count_losses(lines, encoded, losses)
        lost = loss_message(losses.to_dict(), tokenizer.lossy_key, name)
        pieces: list[list[int]] = []
        self.lines: list[int] = []
        for (number, _), ids in zip(numbered, encoded, strict=True):
            for start in range(0, len(ids), text_length):
                pieces.append(ids[start : start + text_length])
                self.lines.append(number)
        if not pieces:
            reason = f" ({lost})" if lost else ""
            raise InputError(f"{name} contains no text{reason}; write one passage per line.")
        if lost:
            notice(f"{lost}.")
        pieces_NR = np.full((len(pieces), text_length), tokenizer.pad_id or 0, dtype=np.int64)
        for row, ids in enumerate(pieces):
            pieces_NR[row, : len(ids)] = ids
        lengths_N = np.array([len(ids) for ids in pieces])
        separators_NR = np.zeros(pieces_NR.shape, dtype=np.bool_)
        self._rows = packing.add_special_tokens(pieces_NR, separators_NR, tokenizer, lengths_N)

    @classmethod
    def from_file(cls, path: str, tokenizer: Tokenizer, packing: Packing) -> "TextRows":
        """Return the lines of a UTF-8 file as rows.

        Raises:
            InputError: the file is missing, is not UTF-8, changed while it was read, or has no text that the tokenizer
                can encode.
        """
        content, lines = file_hash(Path(path)), list(read_lines(Path(path)))
        if file_hash(Path(path)) != content:
            raise changed_while_read(f"`{path}`")
        return cls(lines, tokenizer, packing, f"`{path}`")

    def __len__(self) -> int:
        return len(self.lines)

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids (B, L), int64, of the rows `ids` (B,)."""
        return torch.from_numpy(self._rows.tokens_NL)[ids]

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin and end tokens; None if the packing adds none."""
        return None if self._rows.special_NL is None else torch.from_numpy(self._rows.special_NL)[ids]

    def valid(self, ids: Tensor) -> Tensor | None:
        """Return False (B, L) at padding."""
        assert self._rows.lengths_N is not None
        return torch.arange(self._rows.tokens_NL.shape[1]) < torch.from_numpy(self._rows.lengths_N)[ids, None]

    def documents(self, ids: Tensor) -> Tensor:
        """Return the line numbers (B,), int64, of the rows."""
        return torch.tensor(self.lines)[ids]
