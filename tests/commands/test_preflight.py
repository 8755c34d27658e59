"""The command `uddm preflight`."""

import pytest

from uddm_lightning.commands.preflight import preflight


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight(["--help"]) == preflight([]) == 0
    assert "usage: uddm preflight -c CONFIG" in capsys.readouterr().out
