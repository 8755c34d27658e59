"""Errors that people can mend, each one message without a traceback."""


class InputError(ValueError):
    """A config, file or command line is wrong; the message names the key or file, the value and the way out.

    The command line prints the message without a traceback and exits with status 2.
    """


class DiskFullError(RuntimeError):
    """There is no space left where something is written; the message names the file and the way out.

    The command line prints the message without a traceback and exits with status 1: nothing is wrong with the input.
    """
