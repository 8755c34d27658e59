"""Counts of the characters, lines and files of a text, from which a tokenizer and a packing are chosen."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from uddm_lightning.data.sources.files import TextFiles

LIMIT = 20_000_000  # characters to count; more would not change the choices
_PROSE = set(".,;:!?'\"-")  # ASCII signs that are frequent in prose


class TextSurvey(NamedTuple):
    """Counts of a text.

    Attributes:
        files: number of files.
        paragraphs: number of paragraphs between blank lines, or of records.
        lines: number of lines that are not blank.
        counts: occurrences of each character, composed (NFC), without line ends; white space counts as a space.
        is_whole: whether all of the text was counted.
    """

    files: int
    paragraphs: int
    lines: int
    counts: Counter[str]
    is_whole: bool

    @property
    def characters(self) -> int:
        """Number of characters, without line ends."""
        return self.counts.total()

    @property
    def space_share(self) -> float:
        """Share of white space within lines."""
        return self.counts[" "] / self.characters

    @property
    def mark_share(self) -> float:
        """Share of combining marks, such as the vowel signs of Hindi."""
        return self._share(lambda character: unicodedata.category(character).startswith("M"))

    @property
    def symbol_share(self) -> float:
        """Share of digits and of signs that are rare in prose, such as brackets, among all signs but white space."""
        return self._share(
            lambda character: character.isascii() and not character.isalpha() and character not in _PROSE
        )

    def _share(self, holds: Callable[[str], bool]) -> float:
        signs = [(character, count) for character, count in self.counts.items() if character != " "]
        return sum(count for character, count in signs if holds(character)) / sum(count for _, count in signs)


def survey_text(source: TextFiles) -> TextSurvey:
    r"""Return the counts of a text.

    Args:
        source: the text; documents are paragraphs.

    Raises:
        InputError: a file cannot be read, or holds no text.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from uddm_lightning.data import TextFiles
        >>> from uddm_lightning.data.text_survey import survey_text
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.txt").write_text("one\ntwo\n\nif (x) {")
        ...     survey = survey_text(TextFiles(f"{folder}/a.txt", document="paragraph"))
        >>> survey.paragraphs, survey.lines, survey.counts["o"], round(survey.symbol_share, 2)
        (2, 3, 2, 0.25)
    """
    counts: Counter[str] = Counter()
    paragraphs = lines = characters = 0
    is_whole = True
    for document in source.documents():
        paragraphs += 1
        lines += document.text.count("\n") + 1
        counts.update(unicodedata.normalize("NFC", document.text))
        characters += len(document.text)
        if is_whole := characters < LIMIT:
            continue
        break
    del counts["\n"]
    spaces = [character for character in counts if character.isspace()]
    counts[" "] = sum(counts.pop(character) for character in spaces)
    return TextSurvey(len(source.files), paragraphs, lines, counts, is_whole)
