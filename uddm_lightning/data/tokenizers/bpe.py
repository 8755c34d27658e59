"""Byte-level byte pair encoding, learned from the training text."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from typing_extensions import override

from uddm_lightning.data.tokenizers.learned import SPECIAL_NAMES, LearnedTokenizer, split_long_words


class BPETokenizer(LearnedTokenizer):
    """Byte-level BPE tokenizer: encodes every text without loss.

    Rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, including special tokens, at least 260; a small text may give fewer.
        lowercase: convert text to lower case.

    Example:
        >>> tokenizer = BPETokenizer(vocab_size=262)
        >>> tokenizer.fit(["ab ab ab"])
        >>> tokenizer.decode(tokenizer.encode(["über ab"])[0])
        'über ab'
    """

    min_vocab_size = 256 + len(SPECIAL_NAMES)

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
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all bytes, also those not in the training text
            show_progress=False,
        )
        backend.train_from_iterator(split_long_words(lines), trainer)
        self._set_backend(backend)
