"""Errors of the parser of commands."""

import pytest

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError


def test_an_error_is_one_message_without_a_usage_dump(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="uddm one")
    parser.add_argument("--size", type=int)
    assert parser.parse_args(["--size", "2"]).size == 2
    with pytest.raises(InputError, match=r"^uddm one: argument --size: invalid int value: 'x'$"):
        parser.parse_args(["--size", "x"])
    assert capsys.readouterr() == ("", "")
