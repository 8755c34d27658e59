"""Characters of a text that no id stands for, counted."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5  # characters that a report names


@dataclass
class Losses:
    """Counts of characters that a tokenizer cannot write.

    White space and combining marks, such as accents that are stripped, count neither as dropped nor as unknown.

    Attributes:
        characters: of the text that are no white space.
        dropped: how often each of them leaves no trace in the ids.
        unknown: how often each of them is part of an unknown token.
    """

    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def read(self, lines: Iterable[str]) -> None:
        """Counts all characters of some lines."""
        self.characters += sum(len(word) for line in lines for word in line.split())

    def meta(self) -> dict[str, Any]:
        """The counts as plain data for `meta.json` and manifests."""
        kinds = {"dropped": self.dropped, "unknown": self.unknown}
        counts = {name: counter.total() for name, counter in kinds.items()}
        examples = {f"{name}_examples": _frequent(counter) for name, counter in kinds.items()}
        return {"characters": self.characters, **counts, **examples}


def counts(sign: str) -> bool:
    """Whether a character is one that a report may miss: no white space, and no mark on another character."""
    return not sign.isspace() and not unicodedata.combining(sign)


def _frequent(counter: Counter[str]) -> list[str]:
    return sorted(counter, key=lambda sign: (-counter[sign], sign))[:SHOWN]


def sentence(lost: dict[str, Any], who: str, text: str) -> str:
    """What is lost, in one sentence; empty where nothing is.

    Args:
        lost: as `Losses.meta` gives it.
        who: what drops them, such as "the alphabet of `data.tokenizer`".
        text: whose characters they are, such as "the text".
    """
    parts = [
        f"{verb} {_share(lost[name], lost['characters'])} of the characters of {text} "
        f"({', '.join(map(repr, lost[f'{name}_examples']))})"
        for name, verb in (("dropped", "drops"), ("unknown", "has no id of their own for"))
        if lost[name]
    ]
    return f"{who} {' and '.join(parts)}" if parts else ""


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(1, whole)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
