"""The contract of a tokenizer: lines of text to ids and back.

All of them run on the `tokenizers` library; a subclass says how its backend is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers

from uddm_lightning.data.batching import batches
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.spec import class_of, describe
from uddm_lightning.errors import InputError

# The library keeps some 200 bytes for each token that it returns: encode about this many characters at a time.
BATCH_CHARACTERS = 2**18
MASK = "▢"


class Tokenizer(ABC):
    """Encodes lines of text.

    Special tokens are put by the packing alone: text that happens to spell one is encoded like any other text.
    """

    def __init__(self) -> None:
        self._backend: tokenizers.Tokenizer | None = None
        # names of the special tokens; None where the tokenizer has none
        self._bos: str | None = None
        self._eos: str | None = None
        self._separator: str | None = None
        self._pad: str | None = None

    @abstractmethod
    def fit(self, lines: Iterable[str]) -> None:
        """Learns the vocabulary; a given one ignores this.

        Args:
            lines: the sentences of the training documents; may be iterated more than once.

        Raises:
            InputError: the vocabulary would have fewer than 2 ids.
        """

    @classmethod
    def kept(cls, spec: dict[str, Any], file: Path) -> "Tokenizer":
        """An unfitted tokenizer from what `spec` gave, which needs no more than the `tokenizer.json` it was kept in."""
        tokenizer = class_of(spec).from_spec(spec, file)
        assert isinstance(tokenizer, Tokenizer)
        return tokenizer

    @classmethod
    def from_spec(cls, spec: dict[str, Any], file: Path) -> "Tokenizer":
        """The same for this class."""
        return cls(**spec["init_args"])

    @classmethod
    def downloads(cls, **arguments: Any) -> list[Download]:
        """What a tokenizer with these arguments of its constructor would fetch from the hub; nothing, as a rule.

        It is asked before one is made, and takes no network.
        """
        return []

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer of the library."""
        if self._backend is None:
            raise RuntimeError(f"{type(self).__name__} has no vocabulary yet: call `fit` or `from_json` first.")
        return self._backend

    def encode(self, lines: list[str]) -> list[list[int]]:
        """Ids of each line, without special tokens."""
        return [
            encoding.ids
            for batch in batches(lines, BATCH_CHARACTERS)
            for encoding in self.backend.encode_batch_fast(batch, add_special_tokens=False)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; special tokens are written by name."""
        return self.backend.decode(list(ids), skip_special_tokens=False)

    def piece(self, token: int) -> str:
        """Text of a single id, to be shown beside others; a box for a mask, which is no id of the vocabulary."""
        return MASK if self.backend.id_to_token(token) is None else self.decode([token])

    @property
    def vocab_size(self) -> int:
        """Number of ids V: one more than the largest."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def bos_id(self) -> int | None:
        """Id put at the beginning of a row."""
        return self._id(self._bos)

    @property
    def eos_id(self) -> int | None:
        """Id put at the end of a row."""
        return self._id(self._eos)

    @property
    def separator_id(self) -> int | None:
        """Id put between two sentences."""
        return self._id(self._separator)

    @property
    def pad_id(self) -> int | None:
        """Id that fills a row up."""
        return self._id(self._pad)

    @property
    def joiner(self) -> list[int]:
        """Ordinary ids put between two sentences where there is no separator."""
        return []

    def check_unchanged(self) -> None:
        """Does nothing unless the vocabulary is that of a file.

        Raises:
            InputError: the file holds something else than when the tokenizer was made.
        """

    def to_json(self) -> str:
        """The fitted vocabulary, as a `tokenizer.json`."""
        return self.backend.to_str()

    def from_json(self, text: str) -> None:
        """Takes over what `to_json` gave."""
        self._adopt(tokenizers.Tokenizer.from_str(text))

    def spec(self) -> dict[str, Any]:
        """What determines the result, beside the text that is learned from; JSON-able."""
        return describe(self)

    def _id(self, name: str | None) -> int | None:
        return None if name is None else self.backend.token_to_id(name)

    def _adopt(self, backend: tokenizers.Tokenizer) -> None:
        # the library saves none of this, or files from elsewhere set it otherwise
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        if (size := backend.get_vocab_size(with_added_tokens=True)) < 2:
            raise InputError(
                f"`data.tokenizer`: {type(self).__name__} has a vocabulary of {size} id(s), and one id tells nothing; "
                "give it more text or a larger alphabet."
            )
        self._backend = backend
