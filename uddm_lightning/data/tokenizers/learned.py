"""Base class of the learned tokenizers."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.data.tokenizers.base import Tokenizer

SPECIAL_NAMES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]  # names of the special tokens with the ids 0 to 3

LONG_WORD = re.compile(r"\S{1024}(?=\S)")


class LearnedTokenizer(Tokenizer):
    """Tokenizer that learns its vocabulary from the training text.

    Rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, including special tokens; a small text may give fewer.
        lowercase: convert text to lower case.

    Raises:
        ValueError: `vocab_size` is below `min_vocab_size`.
    """

    min_vocab_size = len(SPECIAL_NAMES) + 1

    def __init__(self, vocab_size: int = 4096, lowercase: bool = False) -> None:
        super().__init__()
        check_at_least(self.min_vocab_size, vocab_size=vocab_size)
        self._size = vocab_size
        self.lowercase = lowercase
        self._special = {"bos": "[CLS]", "eos": "[SEP]", "separator": "[SEP]", "pad": "[PAD]"}

    @override
    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        spec["init_args"]["vocab_size"] = self._size  # the argument; the property is the size of the learned vocabulary
        return spec


def split_long_words(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines with a break after every 1,024 characters of a word: training is quadratic in the word length."""
    for line in lines:
        yield from LONG_WORD.sub(r"\g<0>\n", line).split("\n")
