"""Line ends of text.

A line ends with a line feed, a carriage return, or a carriage return and a line feed, as in Python's text files. All
other characters are part of a line, including those at which `str.splitlines` splits: vertical tab, form feed, U+001C
to U+001E, U+0085, U+2028 and U+2029. A line of white space counts as empty.
"""

import re
from collections.abc import Callable

LINE_END = re.compile(r"(\r\n|\r|\n)")


def normalize_newlines(text: str) -> str:
    """Return the text with a line feed as every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def split_lines(text: str) -> list[str]:
    """Return the lines of a text without their line ends. A line end at the end of the text starts no new line."""
    lines = normalize_newlines(text).split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def map_lines(function: Callable[[str], str], text: str) -> str:
    """Return the text with `function` applied to each line; line ends stay unchanged."""
    parts = LINE_END.split(text)
    parts[::2] = map(function, parts[::2])
    return "".join(parts)
