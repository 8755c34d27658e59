"""The fixtures of foreign checkpoints, for the commands that convert and export them."""

from tests.interop.conftest import averaged, foreign, raw, text  # noqa: F401 fixtures of the tests here
