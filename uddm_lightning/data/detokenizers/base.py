"""Base class of detokenizers."""

import re
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.newlines import map_lines


class Rule(NamedTuple):
    """Substitution of a regular expression.

    Attributes:
        literal: text that every match contains; lines without it are skipped.
        pattern: regular expression.
        replacement: replacement of the matches.
    """

    literal: str
    pattern: str
    replacement: str


class Detokenizer(ABC):
    """Rewrites each line of a text by rules.

    Each rule applies to the result of the rules before it. The rules are part of `spec`: other rules give another
    corpus.

    Example:
        >>> class HyphenDetokenizer(Detokenizer):
        ...     rules = (Rule(" - ", " - ", "-"), attach_punctuation(","))
        >>> HyphenDetokenizer()("a well - known text , yes")
        'a well-known text, yes'
    """

    @property
    @abstractmethod
    def rules(self) -> tuple[Rule, ...]:
        """Rules, in the order of their application."""

    def __call__(self, text: str) -> str:
        """Return the detokenized text; line breaks stay unchanged."""
        return map_lines(self._line, text)

    def spec(self) -> dict[str, Any]:
        """Return plain data that determine the result."""
        return {**component_spec(self), "rules": [list(rule) for rule in self.rules]}

    def _line(self, line: str) -> str:
        for literal, pattern, replacement in self._compiled:
            if literal in line:
                line = pattern.sub(replacement, line)
        return line

    @cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str], str]]:
        return [(rule.literal, re.compile(rule.pattern), rule.replacement) for rule in self.rules]


def attach_punctuation(mark: str) -> Rule:
    """Return a rule that removes the space before a punctuation mark that is followed by a space."""
    return Rule(f" {mark} ", f" {re.escape(mark)} ", f"{mark} ")
