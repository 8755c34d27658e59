"""What the learned tokenizers share."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import override

from uddm_lightning.data.tokenizers.base import Tokenizer

# Names of the special tokens, in the order of their ids.
SPECIAL_NAMES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

LONG_WORD = re.compile(r"\S{1024}(?=\S)")


class LearnedTokenizer(Tokenizer):
    """Learns its vocabulary from the training text; rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, special ones included; a small text may give fewer.
        lowercase: write everything in lower case first.
    """

    smallest = len(SPECIAL_NAMES) + 1  # vocabulary that makes sense

    def __init__(self, vocab_size: int, lowercase: bool) -> None:
        super().__init__()
        if vocab_size < self.smallest:
            raise ValueError(f"`vocab_size` must be at least {self.smallest}, got {vocab_size}.")
        self._size = vocab_size
        self.lowercase = lowercase
        self._pad, _, self._bos, self._eos = SPECIAL_NAMES
        self._separator = self._eos

    @override
    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        spec["init_args"]["vocab_size"] = self._size  # asked for; the property says what came out
        return spec


def short_words(lines: Iterable[str]) -> Iterator[str]:
    """Lines to learn from, with words of more than 1,024 characters cut: the library needs their length squared."""
    for line in lines:
        yield from LONG_WORD.sub(r"\g<0>\n", line).split("\n")
