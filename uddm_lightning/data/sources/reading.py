"""Readers of text, JSON Lines and Parquet, each optionally gzipped: streaming, with errors that name file and line."""

import gzip
import json
import reprlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow
import pyarrow.parquet

from uddm_lightning.errors import InputError

PIECE = 2**20  # bytes, or a little more, that are decoded at once
NEWLINE = b"\n"


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; a byte order mark is skipped."""
    offset, number = 0, 1  # of the first byte and line of a piece
    with _reading(path), _open(path) as stream:
        while raw := stream.read(PIECE) + stream.readline():  # whole lines, many of which are decoded at once
            try:
                lines = raw.decode("utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"`{path}`, line {number + raw.count(NEWLINE, 0, error.start)}: byte {offset + error.start} of the "
                    "file is not UTF-8; convert it to UTF-8, e.g. `iconv -f latin1 -t utf-8`."
                ) from error
            if not lines[-1]:
                lines.pop()  # what follows the end of the last line is no line
            if offset == 0:
                lines[0] = lines[0].removeprefix("\ufeff")
            offset, number = offset + len(raw), number + raw.count(NEWLINE)
            for line in lines:
                yield line.rstrip("\r")


def read_records(path: Path, field: str) -> Iterator[str]:
    """The text under `field` of each line of a JSON Lines file; blank lines are skipped."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"`{path}`, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError, too
            raise InputError(f"{place}: not valid JSON ({error}); write one JSON object per line.") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: a {type(record).__name__} where a JSON object with a field `{field}` belongs.")
        if field not in record:
            raise InputError(f"{place}: no field `{field}`; set `field` to one of {reprlib.repr(sorted(record))}.")
        yield checked_text(record[field], f"{place}, field `{field}`")


def read_column(path: Path, field: str) -> Iterator[str]:
    """The text in column `field` of each row of a Parquet file."""
    with _reading(path), _plain(path) as stream:
        file = pyarrow.parquet.ParquetFile(stream)
        names = file.schema_arrow.names
        if field not in names:
            raise InputError(f"`{path}`: no column `{field}`; set `field` to one of {reprlib.repr(sorted(names))}.")
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=[field]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield checked_text(value, f"`{path}`, row {number}, column `{field}`")


def checked_text(value: object, place: str) -> str:
    """`value` if it is text, else an error that names its place."""
    if not isinstance(value, str):
        raise InputError(f"{place}: {reprlib.repr(value)} is not text; choose a `field` that holds strings.")
    return value


def read_document(path: Path) -> str:
    """A whole UTF-8 file."""
    return "\n".join(read_lines(path))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what can go wrong inside a file into one message for the user."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"`{path}` is not a whole gzip file ({error}); fetch or compress it again.") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` is not a readable Parquet file ({error}); write or fetch it again.") from error
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes]]:
    """A stream that can jump about, as Parquet needs it: a gzipped file is unpacked to a temporary one first."""
    with _open(path) as stream:
        if path.suffix != ".gz":
            yield stream
            return
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked)
            unpacked.seek(0)
            yield unpacked
