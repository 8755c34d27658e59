"""Counts of the characters of a text that a tokenizer cannot encode."""

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

NUM_EXAMPLES = 5  # characters that a message names


@dataclass
class TokenizationLosses:
    """Counts of the characters that a tokenizer cannot encode.

    White space and combining marks, such as accents that are stripped, do not count.

    Attributes:
        characters: number of characters of the text that are not white space.
        dropped: number of occurrences of each character that gives no id.
        unknown: number of occurrences of each character that is part of an unknown token.
    """

    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the most frequent characters as plain data."""
        kinds = {"dropped": self.dropped, "unknown": self.unknown}
        counts = {name: counter.total() for name, counter in kinds.items()}
        examples = {f"{name}_examples": _most_frequent(counter) for name, counter in kinds.items()}
        return {"characters": self.characters, **counts, **examples}


def is_countable(character: str) -> bool:
    """Return whether a character counts as lost: it is neither white space nor a combining mark."""
    return not character.isspace() and not unicodedata.combining(character)


def loss_message(lost: dict[str, Any], key: str, text: str) -> str:
    """Return a clause about the lost characters; empty if none are lost.

    Args:
        lost: counts from `TokenizationLosses.to_dict`.
        key: component that loses the characters, such as "the alphabet of `data.tokenizer`".
        text: name of the text, such as "the text".
    """
    clauses = [
        f"{verb} {_percentage(lost[name], lost['characters'])} of the characters of {text} "
        f"({', '.join(map(repr, lost[f'{name}_examples']))})"
        for name, verb in (("dropped", "drops"), ("unknown", "encodes as unknown"))
        if lost[name]
    ]
    return f"{key} {' and '.join(clauses)}" if clauses else ""


def _most_frequent(counter: Counter[str]) -> list[str]:
    return sorted(counter, key=lambda character: (-counter[character], character))[:NUM_EXAMPLES]


def _percentage(part: int, whole: int) -> str:
    percent = 100 * part / max(1, whole)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
