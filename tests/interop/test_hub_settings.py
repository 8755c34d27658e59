"""Settings of a `config.json`: types, missing keys and their record."""

from collections.abc import Callable
from typing import Any

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.hub_settings import HubSettings


def settings(**content: Any) -> HubSettings:
    return HubSettings(content, lambda why: InputError(f"refused: {why}."))


def test_keys_that_were_assumed_are_recorded_once_in_the_order_of_their_reading() -> None:
    read = settings(rate=2, on=False, part={"kind": "a", "none": None})
    assert (read.number("rate", 1.0), read.switch("on", True), read.choice("part.kind", "ab", "b")) == (2.0, False, "a")
    assert read.assumed == []
    assert (read.number("size", 3.0), read.number("part.none", 4.0), read.number("size", 3.0)) == (3.0, 4.0, 3.0)
    assert (read.switch("off", False), read.choice("part.other", "ab", "b")) == (False, "b")
    assert read.assumed == ["size", "part.none", "off", "part.other"]
    assert (read.value("nothing"), read.value("part.kind")) == (None, "a")
    assert len(read.assumed) == 4


@pytest.mark.parametrize("value", [None, "1", True, [1], float("nan"), float("inf"), 2e9])
def test_numbers_are_finite(value: Any) -> None:
    with pytest.raises(InputError, match=r"refused: its `config\.json` says `rate` = .*, and a number is needed"):
        settings(rate=value).number("rate")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda given: given.switch("one", True), "says `one` = 1, and not true or false"),
        (lambda given: given.choice("one", ("a", "b")), "says `one` = 1; known values: a, b"),
        (lambda given: given.choice("one.two", ("a", "b")), "says `one.two` = nothing; known values: a, b"),
    ],
)
def test_other_types_are_refused(read: Callable[[HubSettings], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(settings(one=1))
