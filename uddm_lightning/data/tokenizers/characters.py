"""Character tokenizer."""

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Regex, decoders, models, normalizers
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import TokenizationLosses, is_countable

UNKNOWN = "<unk>"


class CharacterTokenizer(Tokenizer):
    """Tokenizer with one id per character. It has no special tokens; a space separates sentences.

    Args:
        alphabet: characters in the order of their ids. Accents are stripped, unless the alphabet has accents. Each run
            of spaces and other characters becomes one space, or nothing if the alphabet has no space. None uses the
            sorted characters of the training text and one id for unknown characters.
        lowercase: convert text to lower case.

    Raises:
        ValueError: `alphabet` repeats a character, or has capitals although `lowercase` is set.

    Example:
        >>> tokenizer = CharacterTokenizer("abc ", lowercase=True)
        >>> tokenizer.encode(["Cab, bá!"])
        [[2, 0, 1, 3, 1, 0]]
        >>> tokenizer.decode([2, 0, 1])
        'cab'
    """

    def __init__(self, alphabet: str | None = None, lowercase: bool = False) -> None:
        super().__init__()
        if alphabet is not None and len(set(alphabet)) < len(alphabet):
            repeated = next(character for character in alphabet if alphabet.count(character) > 1)
            raise ValueError(f"`alphabet` must contain each character once, got {repeated!r} twice.")
        if alphabet is not None and lowercase and alphabet != alphabet.lower():
            raise ValueError(f"`alphabet` must be in lower case with `lowercase: true`, got {alphabet!r}.")
        self.alphabet = alphabet
        self.lowercase = lowercase
        if alphabet is not None:
            self._set_backend(_backend(alphabet, None, _normalizer(alphabet, lowercase)))

    @override
    def fit(self, lines: Iterable[str]) -> None:
        if self.alphabet is not None:
            return
        normalizer = normalizers.Sequence([normalizers.Lowercase()] if self.lowercase else [])
        characters: set[str] = set()
        for line in lines:
            characters.update(normalizer.normalize_str(line))
        if not characters:
            raise InputError("`data.tokenizer`: CharacterTokenizer found no character in the training text.")
        self._set_backend(_backend(sorted(characters), UNKNOWN, normalizer))

    @override
    def encode(self, lines: list[str]) -> list[list[int]]:
        # Same ids as the backend's, whose encoding takes about 200 bytes per character and most of the time of a build.
        return [self._normalized_ids(self._normalize(line)).tolist() for line in lines]

    @property
    @override
    def lossy_key(self) -> str:
        return "`data.tokenizer`" if self.alphabet is None else "the alphabet of `data.tokenizer`"

    @override
    def count_losses(self, lines: list[str], ids: list[list[int]], losses: TokenizationLosses) -> None:
        counter = losses.unknown if self.alphabet is None else losses.dropped
        text = "\n".join(lines)  # a line end keeps an accent from combining with a letter of the line before
        occurrences = _count_characters(text)
        losses.characters += sum(count for character, count in occurrences.items() if not character.isspace())
        if not text.isascii():  # combines letters and accents, as in the alphabet
            occurrences = _count_characters(unicodedata.normalize("NFC", text))
        for character, count in occurrences.items():
            if character not in self._is_lost:
                self._is_lost[character] = is_countable(character) and self._loses(character)
            if self._is_lost[character]:
                counter[character] += count

    def _loses(self, character: str) -> bool:
        normalized = self._normalize(character)
        if self.alphabet is not None:
            return not normalized.strip()
        return any(part not in self._vocabulary for part in normalized)

    def _normalize(self, line: str) -> str:
        if not line.isascii():
            return str(self.backend.normalizer.normalize_str(line))
        if self.alphabet is None:
            return line.lower() if self.lowercase else line
        text = line.translate(self._ascii)
        if " " not in self.alphabet:
            return text
        while "  " in text:
            text = text.replace("  ", " ")
        return text.strip(" \t\n\r\v\f")

    def _normalized_ids(self, text: str) -> NDArray[np.int32]:
        return self._ids.take(_code_points(text), mode="clip")

    @override
    def _set_backend(self, backend: tokenizers.Tokenizer) -> None:
        super()._set_backend(backend)
        self._vocabulary = backend.get_vocab()
        self._is_lost: dict[str, bool] = {}  # by character
        codes = {ord(name): number for name, number in self._vocabulary.items() if name != UNKNOWN}
        # ids by code point; larger code points share the last entry
        self._ids = np.full(max(127, *codes) + 2, backend.token_to_id(UNKNOWN) or 0, dtype=np.int32)
        self._ids[list(codes)] = list(codes.values())
        # normalized ASCII characters, before runs of spaces are merged and both ends are stripped
        replacement = " " if " " in (self.alphabet or "") else ""
        cased = {code: chr(code).lower() if self.lowercase else chr(code) for code in range(128)}
        self._ascii = {code: char if ord(char) in codes else replacement for code, char in cased.items()}

    @property
    @override
    def joiner_ids(self) -> list[int]:
        space = self.backend.token_to_id(" ")
        return [] if space is None else [space]


def _count_characters(text: str) -> dict[str, int]:
    """Return the number of each character, several times as fast as `collections.Counter`."""
    counts = np.bincount(_code_points(text))
    return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}


def _code_points(text: str) -> NDArray[np.unsignedinteger[Any]]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype="u1")
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _backend(
    characters: Iterable[str], unknown: str | None, normalizer: normalizers.Normalizer
) -> tokenizers.Tokenizer:
    """Return a BPE backend without merges: twice as fast as a word-level backend, with the same ids."""
    vocabulary = {character: number for number, character in enumerate(characters)}
    if unknown is not None:
        vocabulary[unknown] = len(vocabulary)
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unknown))
    backend.normalizer = normalizer
    backend.decoder = decoders.Fuse()
    return backend


def _normalizer(alphabet: str, lowercase: bool) -> normalizers.Normalizer:
    """Return a normalizer that maps any text to the alphabet."""
    others = "".join(rf"\x{{{ord(character):x}}}" for character in alphabet if character != " ")
    # also of Hangul syllables, for which `unicodedata.decomposition` returns nothing
    strips_accents = all(unicodedata.normalize("NFKD", character) == character for character in alphabet)
    steps: list[normalizers.Normalizer] = []
    steps += [normalizers.NFKD(), normalizers.StripAccents()] if strips_accents else [normalizers.NFC()]
    steps += [normalizers.Lowercase()] if lowercase else []
    steps += [normalizers.Replace(Regex(f"[^{others}]+" if others else ".+"), " " if " " in alphabet else "")]
    steps += [normalizers.Strip()] if " " in alphabet else []
    return normalizers.Sequence(steps)
