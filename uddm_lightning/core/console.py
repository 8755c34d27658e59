"""Standard streams on which writing never raises an error."""

import errno
import io
import os
import select
import sys
from typing import Any

from tqdm import tqdm
from typing_extensions import override

READER_HAS_GONE = (errno.EPIPE, errno.EIO)  # closed pipe, closed terminal


class _Enduring(io.FileIO):
    """A standard stream that accepts every write and drops data that cannot be written.

    Attributes:
        error: why data was dropped that a reader could still want; None if none was.
    """

    error: OSError | None = None

    @override
    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
            return written
        except OSError as error:
            if error.errno not in READER_HAS_GONE:  # full disk
                self.error = error
            return memoryview(data).nbytes


def make_enduring() -> None:
    """Replace stdout and stderr by streams on which no write fails.

    A program continues if it prints to `head -1`, to a closed terminal or to a full disk. A character that the encoding
    of the stream lacks is written as an escape sequence. Streams that another library has replaced are not changed.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 as long as the process lasts
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            buffer = io.BufferedWriter(_Enduring(number, "w", closefd=False))
            lines = stream.line_buffering or stream.write_through or name == "stderr"
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=lines))


def dropped_output() -> OSError | None:
    """Return why a part of the standard output could not be written; None if all was, or if its reader has gone."""
    if not isinstance(sys.stdout, io.TextIOWrapper):  # replaced by another library
        return None
    sys.stdout.flush()
    stream = getattr(sys.stdout.buffer, "raw", None)
    return stream.error if isinstance(stream, _Enduring) else None


def say(text: str) -> None:
    """Print a result to stdout, above the progress bars of the terminal if there are any."""
    with tqdm.external_write_mode(file=sys.stdout):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()  # before the bars are drawn again
