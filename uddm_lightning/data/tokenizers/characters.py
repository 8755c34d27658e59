"""Characters as tokens."""

import unicodedata
from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, decoders, models, normalizers
from typing_extensions import override

from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.errors import InputError

UNKNOWN = "<unk>"


class CharacterTokenizer(Tokenizer):
    """One id per character; no special tokens, no separator but a space.

    Args:
        alphabet: the characters, in the order of their ids. Accents are stripped (unless the alphabet itself has some),
            and every run of other characters and spaces becomes one space, or nothing if the alphabet has no space.
            None takes all characters of the training text, sorted, and an id for unknown ones.
        lowercase: write everything in lower case first.
    """

    def __init__(self, alphabet: str | None = None, lowercase: bool = False) -> None:
        super().__init__()
        if alphabet is not None and len(set(alphabet)) < len(alphabet):
            twice = next(character for character in alphabet if alphabet.count(character) > 1)
            raise ValueError(f"`alphabet` must name each character once, got {twice!r} twice.")
        if alphabet is not None and lowercase and alphabet != alphabet.lower():
            raise ValueError(f"`alphabet` must be in lower case with `lowercase: true`, got {alphabet!r}.")
        self.alphabet = alphabet
        self.lowercase = lowercase
        if alphabet is not None:
            self._adopt(_backend(alphabet, None, _cleaning(alphabet, lowercase)))

    @override
    def fit(self, lines: Iterable[str]) -> None:
        if self.alphabet is not None:
            return
        cleaning = normalizers.Sequence([normalizers.Lowercase()] if self.lowercase else [])
        characters: set[str] = set()
        for line in lines:
            characters.update(cleaning.normalize_str(line))
        if not characters:
            raise InputError("`data.tokenizer`: CharacterTokenizer found no character in the training text.")
        self._adopt(_backend(sorted(characters), UNKNOWN, cleaning))

    @property
    @override
    def joiner(self) -> list[int]:
        space = self.backend.token_to_id(" ")
        return [] if space is None else [space]


def _backend(characters: Iterable[str], unknown: str | None, cleaning: normalizers.Normalizer) -> tokenizers.Tokenizer:
    """Byte pair encoding that never merges: twice as fast as one word per character, and the same ids."""
    vocabulary = {character: number for number, character in enumerate(characters)}
    if unknown is not None:
        vocabulary[unknown] = len(vocabulary)
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unknown))
    backend.normalizer = cleaning
    backend.decoder = decoders.Fuse()
    return backend


def _cleaning(alphabet: str, lowercase: bool) -> normalizers.Normalizer:
    """Maps any text to the alphabet."""
    others = "".join(rf"\x{{{ord(character):x}}}" for character in alphabet if character != " ")
    plain = not any(unicodedata.decomposition(character) for character in alphabet)
    steps: list[normalizers.Normalizer] = []
    steps += [normalizers.NFKD(), normalizers.StripAccents()] if plain else [normalizers.NFC()]
    steps += [normalizers.Lowercase()] if lowercase else []
    steps += [normalizers.Replace(Regex(f"[^{others}]+" if others else ".+"), " " if " " in alphabet else "")]
    steps += [normalizers.Strip()] if " " in alphabet else []
    return normalizers.Sequence(steps)
