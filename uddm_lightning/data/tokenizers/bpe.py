"""Byte-level byte pair encoding, learned from the training text."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from typing_extensions import override

from uddm_lightning.data.tokenizers.learned import SPECIAL_NAMES, LearnedTokenizer, short_words


class BPETokenizer(LearnedTokenizer):
    """Loses nothing: every text is bytes, and the most frequent pairs of them become ids.

    Rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, special ones included; a small text may give fewer.
        lowercase: write everything in lower case first.
    """

    smallest = 256 + len(SPECIAL_NAMES)

    def __init__(self, vocab_size: int = 4096, lowercase: bool = False) -> None:
        super().__init__(vocab_size, lowercase)

    @override
    def fit(self, lines: Iterable[str]) -> None:
        backend = tokenizers.Tokenizer(models.BPE())
        if self.lowercase:
            backend.normalizer = normalizers.Lowercase()
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self._size,
            special_tokens=list(SPECIAL_NAMES),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # any byte can be written, seen or not
            show_progress=False,
        )
        backend.train_from_iterator(short_words(lines), trainer)
        self._adopt(backend)
