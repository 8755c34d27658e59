"""Errors that are the user's to mend."""


class InputError(ValueError):
    """A config, file or command line is wrong; the message names the key or file, the value and the way out.

    The command line prints the message without a traceback and exits with status 2.
    """
