"""Messages of wrong input: one line that names key, value and way out."""

import pytest

from uddm_lightning.core.errors import (
    InputError,
    check_at_least,
    check_within,
    first_line,
    require_package,
    sanitize_message,
    suggest,
)


def test_a_value_below_the_smallest_is_named() -> None:
    check_at_least(1, size=1, absent=None)
    with pytest.raises(InputError, match=r"^`data\.size` must be at least 1, got 0\.$"):
        check_at_least(1, "data.", size=0)


@pytest.mark.parametrize(
    ("interval", "ends"), [("[0, 1]", ()), ("[0, 1)", (1.0,)), ("(0, 1]", (0.0,)), ("(0, 1)", (0.0, 1.0))]
)
def test_an_interval_excludes_its_open_ends(interval: str, ends: tuple[float, ...]) -> None:
    for value in (-0.1, 0.0, 0.5, 1.0, 1.1, float("nan")):
        if 0.0 <= value <= 1.0 and value not in ends:
            check_within(interval, t=value)
        else:
            with pytest.raises(InputError, match=r"^`t` must be in "):
                check_within(interval, t=value)


def test_a_missing_package_is_named_with_its_extra() -> None:
    require_package("json", "demo", "a")
    with pytest.raises(
        InputError, match=r"^`a` is b, which needs `no_such_package`: pip install 'uddm-lightning\[demo\]'"
    ):
        require_package("no_such_package", "demo", "`a` is b")


def test_a_message_is_one_printable_line() -> None:
    assert sanitize_message("first\n  second\n\nfirst\n\x1b[31m") == "first second \\x1b[31m"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 300))) == 200


def test_the_nearest_known_name_is_suggested() -> None:
    assert suggest("recall", ["recovery", "entropy"]) == "."
    assert suggest("recovry", ["recovery", "entropy"]) == "; did you mean `recovery`?"
