"""WordPiece as in BERT: learned from the training text, or read from a vocabulary."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.tokenizers.bpe import BPETokenizer
from uddm_lightning.data.tokenizers.learned import SPECIAL_NAMES, LearnedTokenizer, split_long_words

CONTINUATION = "##"  # prefix of a token that continues a word
UNKNOWN = "[UNK]"
MAX_CHUNKS = 2**17  # distinct chunks of text in memory


class WordPieceTokenizer(LearnedTokenizer):
    """WordPiece tokenizer with BERT's normalization of accents, punctuation and case.

    Rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, including special tokens and all characters; a small text may give fewer.
        lowercase: convert text to lower case and strip accents.

    Example:
        >>> tokenizer = WordPieceTokenizer(vocab_size=16)
        >>> tokenizer.fit(["abba baba"])
        >>> [tokenizer.decode_token(token) for token in tokenizer.encode(["Baba"])[0]]
        ['baba']
    """

    def __init__(self, vocab_size: int = 4096, lowercase: bool = True) -> None:
        super().__init__(vocab_size, lowercase)

    @override
    def fit(self, lines: Iterable[str]) -> None:
        # The trainer numbers the characters inside words in the order of a hash table and breaks ties by number: two
        # runs differ. As special tokens, the characters have fixed numbers, which determine the vocabulary.
        backend = bert_backend({UNKNOWN: 0}, self.lowercase)
        continuations = [CONTINUATION + character for character in _continuation_characters(backend, lines)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=self._size, special_tokens=SPECIAL_NAMES + continuations, show_progress=False
        )
        backend.train_from_iterator(split_long_words(lines), trainer)
        if (needed := backend.get_vocab_size()) > self._size:  # the trainer adds all characters, even above the limit
            raise InputError(
                f"`data.tokenizer.init_args.vocab_size` is {self._size}, but the characters of the training text need "
                f"{needed} ids; choose at least {needed}, or use BPETokenizer, which encodes any text with "
                f"{BPETokenizer.min_vocab_size} ids."
            )
        self._set_backend(bert_backend(backend.get_vocab(with_added_tokens=False), self.lowercase))


def bert_backend(vocabulary: dict[str, int], lowercase: bool) -> tokenizers.Tokenizer:
    """Return a WordPiece backend over `vocabulary` with BERT's normalizer, pre-tokenizer and decoder."""
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens([name for name in SPECIAL_NAMES if name in vocabulary])
    return backend


def _continuation_characters(backend: tokenizers.Tokenizer, lines: Iterable[str]) -> list[str]:
    """Return the characters after the first character of a word, sorted."""
    normalizer, pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    characters: set[str] = set()
    chunks: set[str] = set()  # each distinct chunk is pre-tokenized once, up to the memory limit

    def add_chunks() -> None:
        words = {word for chunk in chunks for word, _ in pre_tokenizer.pre_tokenize_str(chunk)}
        characters.update(*(word[1:] for word in words))
        chunks.clear()

    for line in lines:
        chunks.update(normalizer.normalize_str(line).split())
        if len(chunks) > MAX_CHUNKS:
            add_chunks()
    add_chunks()
    return sorted(characters)
