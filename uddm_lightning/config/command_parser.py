"""The parser of commands that have options of their own; importing it is fast."""

import argparse
from typing import NoReturn

from typing_extensions import override

from uddm_lightning.core.errors import InputError


class CommandParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that reports an error as one message."""

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}")
