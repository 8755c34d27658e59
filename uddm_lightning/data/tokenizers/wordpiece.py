"""WordPiece in BERT's manner: learned from the training text, or read from a vocabulary."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.tokenizers.bpe import BPETokenizer
from uddm_lightning.data.tokenizers.learned import SPECIAL_NAMES, LearnedTokenizer, short_words

INSIDE = "##"  # marks a piece that continues a word
UNKNOWN = "[UNK]"
REMEMBERED = 2**17  # chunks of text


class WordPieceTokenizer(LearnedTokenizer):
    """Whole words and their pieces, after BERT's clean-up of accents, punctuation and case.

    Rows are [CLS] ... [SEP], with [SEP] between sentences.

    Args:
        vocab_size: number of ids, special ones and all characters included; a small text may give fewer.
        lowercase: write everything in lower case, without accents, first.
    """

    def __init__(self, vocab_size: int = 4096, lowercase: bool = True) -> None:
        super().__init__(vocab_size, lowercase)

    @override
    def fit(self, lines: Iterable[str]) -> None:
        # The trainer numbers the characters inside words by the order of a hash table, and breaks ties by number: two
        # runs would differ. Numbered beforehand, as if they were special, they fix the whole vocabulary.
        backend = bert_backend({UNKNOWN: 0}, self.lowercase)
        inside = [INSIDE + character for character in _characters_inside_words(backend, lines)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=self._size, special_tokens=SPECIAL_NAMES + inside, show_progress=False
        )
        backend.train_from_iterator(short_words(lines), trainer)
        if (needed := backend.get_vocab_size()) > self._size:  # the trainer takes all characters, whatever it is told
            raise InputError(
                f"`data.tokenizer.init_args.vocab_size` is {self._size}, and the characters of the training text alone "
                f"need {needed}; choose at least {needed}, or BPETokenizer, which writes any text with "
                f"{BPETokenizer.smallest}."
            )
        self._adopt(bert_backend(backend.get_vocab(with_added_tokens=False), self.lowercase))


def bert_backend(vocabulary: dict[str, int], lowercase: bool) -> tokenizers.Tokenizer:
    """WordPiece over `vocabulary` with BERT's clean-up, splitting and decoding."""
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens([name for name in SPECIAL_NAMES if name in vocabulary])
    return backend


def _characters_inside_words(backend: tokenizers.Tokenizer, lines: Iterable[str]) -> list[str]:
    clean, split = backend.normalizer, backend.pre_tokenizer
    characters: set[str] = set()
    chunks: set[str] = set()  # each is split once, as long as there are not too many to remember

    def look() -> None:
        words = {word for chunk in chunks for word, _ in split.pre_tokenize_str(chunk)}
        characters.update(*(word[1:] for word in words))
        chunks.clear()

    for line in lines:
        chunks.update(clean.normalize_str(line).split())
        if len(chunks) > REMEMBERED:
            look()
    look()
    return sorted(characters)
