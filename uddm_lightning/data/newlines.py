"""Where a line of text ends.

A line ends with a line feed, with a carriage return, or with both in this order, as in Python's text files. Every other
character is text inside a line, also those at which `str.splitlines` would split: vertical tab, form feed, the
separators U+001C to U+001E, U+0085, U+2028 and U+2029. A line of nothing but white space is empty.
"""

import re
from collections.abc import Callable

LINE_END = re.compile(r"(\r\n|\r|\n)")


def unified(text: str) -> str:
    """The text with a line feed for every end of a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def split_lines(text: str) -> list[str]:
    """The lines of a text without their ends; what follows the end of the last line is no line."""
    lines = unified(text).split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def map_lines(change: Callable[[str], str], text: str) -> str:
    """The text with `change` made to each line; the ends of lines stay as they are."""
    parts = LINE_END.split(text)
    parts[::2] = map(change, parts[::2])
    return "".join(parts)
