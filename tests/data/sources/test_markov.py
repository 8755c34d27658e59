"""Source of text from a Markov chain."""

import pytest

from tests.support.command_line import check


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (("alphabet", "a"), ("alphabet", "'a'")),
        (("alphabet", "aba"), ("alphabet", "'aba'")),
        (("alphabet", "ab c"), ("alphabet", "'ab c'")),
        (("num_documents", 1), ("num_documents", "1")),
        (("length", 0), ("length", "0")),
        (("sharpness", -1.0), ("sharpness", "-1.0")),
        (("sharpness", "nan"), ("sharpness", "nan")),
        (("seed", -3), ("seed", "-3")),
    ],
)
def test_invalid_arguments(uddm, markov_config, options, needles):
    name, value = options
    check(uddm("fit", "-c", markov_config, f"--data.source.init_args.{name}={value}"), *needles)
