"""Compute the expected rows of a corpus from the definitions, without the package's packing."""

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from uddm_lightning.data import BPETokenizer, CharacterTokenizer, Tokenizer, WordPieceTokenizer

LINE_END = re.compile(r"\r\n|\r|\n")


def documents_of(raw: str, document: str) -> list[str]:
    """Return the lines of a text file, which end with a line feed, a carriage return, or both in this order."""
    lines = LINE_END.split(raw.removeprefix("\ufeff"))
    if document == "line":
        texts = lines
    elif document == "paragraph":
        texts = ["\n".join(part) for filled, part in groupby(lines, lambda line: bool(line.strip())) if filled]
    else:
        texts = ["\n".join(lines)]
    return [text for text in texts if text.strip()]


def sentences_of(document: str) -> list[str]:
    return [line for line in LINE_END.split(document) if line.strip()]


def lowered(text: str) -> str:
    return "".join(sign.lower() for sign in text)  # character by character, without the rule for a final sigma


def characters(tokenizer: CharacterTokenizer, sentence: str, alphabet: str | None, lowercase: bool) -> str:
    """Return the characters that the tokenizer keeps; an `alphabet` of None keeps all."""
    if alphabet is None:
        return lowered(sentence) if lowercase else sentence
    text = unicodedata.normalize("NFKD", sentence)
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Mn")
    text = lowered(text) if lowercase else text
    words = "".join(sign if sign in alphabet else "\0" for sign in text)
    between = " " if " " in alphabet else ""
    return between.join(part for part in words.replace(" ", "\0").split("\0") if part)


def bytes_of_pieces(pieces: Iterable[str]) -> bytes:
    """Return the bytes of tokens of byte-level BPE, by the table of GPT-2."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {chr(byte): byte for byte in visible} | {chr(256 + number): byte for number, byte in enumerate(hidden)}
    return bytes(table[sign] for piece in pieces for sign in piece)


def bert_letters(sentence: str, lowercase: bool) -> str:
    """Return a sentence after BERT's normalization, without spaces."""
    kept = [
        sign for sign in sentence if sign in "\t\n\r" or (sign != "\ufffd" and unicodedata.category(sign)[0] != "C")
    ]
    text = "".join(kept)
    if lowercase:
        text = "".join(sign for sign in unicodedata.normalize("NFD", text) if unicodedata.category(sign) != "Mn")
        text = lowered(text)
    return "".join(text.split())


def encoded(tokenizer: Tokenizer, sentence: str, vocabulary: dict[str, int]) -> list[int]:
    """Return the ids of one sentence and check that they decode to its text."""
    if isinstance(tokenizer, CharacterTokenizer):
        text = characters(tokenizer, sentence, tokenizer.alphabet, tokenizer.lowercase)
        return [vocabulary[sign] if sign in vocabulary else vocabulary["<unk>"] for sign in text]
    (ids,) = tokenizer.encode([sentence])
    pieces = [{number: piece for piece, number in vocabulary.items()}[number] for number in ids]
    if isinstance(tokenizer, BPETokenizer):
        text = lowered(sentence) if tokenizer.lowercase else sentence
        assert bytes_of_pieces(pieces) == text.encode()
    # versions of Unicode differ in unassigned characters
    known = all(unicodedata.category(sign) not in ("Cn", "Co") for sign in sentence)
    if isinstance(tokenizer, WordPieceTokenizer) and "[UNK]" not in pieces and known:
        assert "".join(piece.removeprefix("##") for piece in pieces) == bert_letters(sentence, tokenizer.lowercase)
    return ids


@dataclass(frozen=True)
class Row:
    """Expected row: ids without padding, and the positions of special tokens."""

    ids: tuple[int, ...]
    special: frozenset[int]


def rows_of(
    documents: list[str], tokenizer: Tokenizer, vocabulary: dict[str, int], length: int, wrapped: bool
) -> list[Row]:
    """Return the rows of one split, in order."""
    marked = not isinstance(tokenizer, CharacterTokenizer)
    begin, end = ([vocabulary["[CLS]"]], [vocabulary["[SEP]"]]) if marked else ([], [])
    space = [vocabulary[" "]] if not marked and " " in vocabulary else []
    between = [(number, marked) for number in (end if marked else space)]
    room = length - len(begin) - len(end)

    def joined(sentences: Iterable[list[int]]) -> list[tuple[int, bool]]:
        together: list[tuple[int, bool]] = []
        for number, ids in enumerate(ids for ids in sentences if ids):
            together += between * (number > 0)
            together += [(one, False) for one in ids]
        return together

    texts = [[encoded(tokenizer, sentence, vocabulary) for sentence in sentences_of(text)] for text in documents]
    if wrapped:
        stream = joined(ids for text in texts for ids in text)
        pieces = [stream[start : start + room] for start in range(0, len(stream) // room * room, room)]
    else:
        pieces = [piece[:room] for piece in map(joined, texts) if piece]
    marks = [(number, True) for number in begin], [(number, True) for number in end]
    rows = [[*marks[0], *piece, *marks[1]] for piece in pieces]
    return [
        Row(tuple(one for one, _ in row), frozenset(place for place, (_, put) in enumerate(row) if put)) for row in rows
    ]


def size_of(size: int | float, pool: int) -> int:
    """Return the number of training rows of a size; 0 for an invalid size."""
    if isinstance(size, bool) or size <= 0 or (isinstance(size, float) and not size <= 1):
        return 0
    rows = size if isinstance(size, int) else max(1, math.floor(size * pool))
    return rows if rows <= pool else 0
