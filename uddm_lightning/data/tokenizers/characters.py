"""Characters as tokens."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Regex, decoders, models, normalizers
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import Losses, counts

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

    @override
    def encode(self, lines: list[str]) -> list[list[int]]:
        # The ids that the backend gives: it would take some 200 bytes and most of a build's time for each character.
        return [self._numbered(self._cleaned(line)).tolist() for line in lines]

    @property
    @override
    def blamed(self) -> str:
        return "`data.tokenizer`" if self.alphabet is None else "the alphabet of `data.tokenizer`"

    @override
    def count_lost(self, lines: list[str], ids: list[list[int]], losses: Losses) -> None:
        counter = losses.unknown if self.alphabet is None else losses.dropped
        text = "\n".join(lines)  # an accent belongs to the letter before it in its own line alone
        found = Counter(text)
        losses.characters += sum(number for sign, number in found.items() if not sign.isspace())
        if not text.isascii():  # letters and their accents are put together, as in the alphabet
            found = Counter(unicodedata.normalize("NFC", text))
        for sign, number in found.items():
            if sign not in self._lost:
                self._lost[sign] = counts(sign) and self._loses(sign)
            if self._lost[sign]:
                counter[sign] += number

    def _loses(self, sign: str) -> bool:
        clean = self._cleaned(sign)
        return not clean.strip() if self.alphabet is not None else any(one not in self._vocabulary for one in clean)

    def _cleaned(self, line: str) -> str:
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

    def _numbered(self, text: str) -> NDArray[np.int32]:
        raw, width = (text.encode("ascii"), "u1") if text.isascii() else (text.encode("utf-32-le"), "<u4")
        return self._ids.take(np.frombuffer(raw, dtype=width), mode="clip")

    @override
    def _adopt(self, backend: tokenizers.Tokenizer) -> None:
        super()._adopt(backend)
        self._vocabulary = backend.get_vocab()
        self._lost: dict[str, bool] = {}  # whether a character has no id
        codes = {ord(name): number for name, number in self._vocabulary.items() if name != UNKNOWN}
        # of every code point; all that are larger share the last place
        self._ids = np.full(max(127, *codes) + 2, backend.token_to_id(UNKNOWN) or 0, dtype=np.int32)
        self._ids[list(codes)] = list(codes.values())
        # what the clean-up makes of each ASCII character, apart from runs of spaces and those at the ends
        other = " " if " " in (self.alphabet or "") else ""
        small = {code: chr(code).lower() if self.lowercase else chr(code) for code in range(128)}
        self._ascii = {code: to if ord(to) in codes else other for code, to in small.items()}

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
