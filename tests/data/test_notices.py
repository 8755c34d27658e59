"""Notices are lines on stderr."""

import pytest

from uddm_lightning.data.notices import notice


def test_a_notice_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    notice("two characters are not in the alphabet")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "uddm: two characters are not in the alphabet\n"
