"""The contract of a detokenizer: text with its words and signs apart in, text as people write it out."""

import re
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

from uddm_lightning.data.component_spec import describe
from uddm_lightning.data.newlines import map_lines


class Rule(NamedTuple):
    """What takes the place of what.

    Attributes:
        about: text that is part of every match, so that most lines need not be searched.
        pattern: regular expression.
        instead: what takes the place of its matches.
    """

    about: str
    pattern: str
    instead: str


class Detokenizer(ABC):
    """Rewrites each line of a text by rules, one after the other.

    A rule sees what the rules before it have made, so their order matters. The rules are data, and part of `spec`: a
    corpus that was prepared with other ones is another corpus.
    """

    @property
    @abstractmethod
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in order."""

    def __call__(self, text: str) -> str:
        """The text as people write it; its line breaks stay where they are."""
        return map_lines(self._line, text)

    def spec(self) -> dict[str, Any]:
        """What determines the result; JSON-able."""
        return {**describe(self), "rules": [list(rule) for rule in self.rules]}

    def _line(self, line: str) -> str:
        for about, pattern, instead in self._compiled:
            if about in line:
                line = pattern.sub(instead, line)
        return line

    @cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str], str]]:
        return [(rule.about, re.compile(rule.pattern), rule.instead) for rule in self.rules]


def closer(sign: str) -> Rule:
    """Takes out the space before a sign that has another one behind it."""
    return Rule(f" {sign} ", f" {re.escape(sign)} ", f"{sign} ")
