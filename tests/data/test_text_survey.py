"""Counts of a text."""

from pathlib import Path

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import TextFiles
from uddm_lightning.data import text_survey as module
from uddm_lightning.data.text_survey import survey_text


def survey(folder: Path, *texts: str):
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return survey_text(TextFiles(str(folder / "*.txt"), document="paragraph"))


def test_files_paragraphs_lines_and_characters_are_counted(tmp_path):
    found = survey(tmp_path, "ab\ncd\n\nef", "a\tb")
    assert (found.files, found.paragraphs, found.lines, found.is_whole) == (2, 3, 4, True)
    assert dict(found.counts) == {"a": 2, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1, " ": 1}
    assert found.space_share == 1 / 9  # line ends separate no words


def test_accents_are_composed_and_marks_that_stay_are_counted(tmp_path):
    assert survey(tmp_path, "e\u0301e\u0301").counts == {"é": 2, " ": 0}
    hindi = survey(tmp_path, "हिन्दी")
    assert hindi.mark_share == pytest.approx(3 / 6)


def test_symbols_are_digits_and_brackets_but_no_punctuation_of_prose(tmp_path):
    assert survey(tmp_path, 'Well, "he said" it\'s so!').symbol_share == 0.0
    assert survey(tmp_path, "x[12]").symbol_share == 4 / 5
    assert survey(tmp_path, "你好、世界。").symbol_share == 0.0


def test_a_long_text_is_counted_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 4)
    found = survey(tmp_path, "abc\n\ndef\n\nghi")
    assert found.characters == 6
    assert not found.is_whole


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file matches .*none\.txt"):
        survey_text(TextFiles(str(tmp_path / "none.txt"), document="paragraph"))
