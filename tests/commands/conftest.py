"""The fixtures of foreign checkpoints and of samples, for the commands that convert, export and draw."""

from tests.interop.conftest import averaged, foreign, raw, text  # noqa: F401 fixtures of the tests here
from tests.interop.conftest import run as converted  # noqa: F401 fixture of the tests here
from tests.runs.conftest import run, sampled  # noqa: F401 fixtures of the tests here
