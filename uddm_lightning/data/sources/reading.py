"""Readers of text, JSON Lines and Parquet, each optionally gzipped: streaming, with errors that name file and line."""

import gzip
import json
import reprlib
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow
import pyarrow.parquet

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.newlines import split_lines, unified
from uddm_lightning.data.sources.encodings import ESCAPES, guess, is_escaped, way_out

PIECE = 2**20  # bytes, or a little more, that are decoded at once
SAMPLE = 2**16  # bytes by which an encoding is told
NUL = "the text holds zero characters (U+0000), which is what UTF-16 becomes that is read as something else."


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends, as `newlines` defines them; a byte order mark is skipped."""
    offset, number = 0, 1  # of the first byte and line of a piece
    with _reading(path), _open(path) as stream:
        for raw in _whole_lines(stream):  # many, which are decoded at once
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _refusal(path, raw, error.start, offset, number, "is not UTF-8") from error
            if "\0" in text:
                raise _refusal(path, raw, raw.index(b"\0"), offset, number, "is zero, which no text holds")
            if is_escaped(raw):
                raise _refusal(path, raw, raw.index(ESCAPES), offset, number, "begins another encoding")
            lines = split_lines(text.removeprefix("\ufeff") if offset == 0 else text)
            offset, number = offset + len(raw), number + len(lines)
            yield from lines


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file in pieces that end where a line ends."""
    begun: list[bytes] = []
    while piece := stream.read(PIECE):
        # a carriage return at the very end may belong to a line feed that follows
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, len(piece) - 1)) + 1
        begun.append(piece[:end] if end else piece)
        if end:
            yield b"".join(begun)
            begun = [piece[end:]]
    if rest := b"".join(begun):
        yield rest


def _refusal(path: Path, raw: bytes, place: int, offset: int, number: int, what: str) -> InputError:
    """The error for a byte that is no UTF-8 text.

    Args:
        path: the file.
        raw: some of its lines.
        place: of the byte in them.
        offset: of their first byte in the file.
        number: of the first line.
        what: is wrong with the byte.
    """
    line = number + unified(raw[:place].decode("utf-8", "replace") + ".").count("\n")
    begin = 0 if offset + place < SAMPLE else offset + raw.rfind(b"\n", 0, place) + 1
    with _open(path) as stream:
        stream.seek(begin)
        sample = stream.read(SAMPLE)
    text, name = sample.decode("utf-8", "replace"), guess(sample)
    if sum(sign > "\x7f" for sign in text) > 2 * (text.count("\ufffd") + text.count("\0")) and not is_escaped(sample):
        advice = "what stands around it is UTF-8: repair or remove it."
    elif name is None and raw[place] == 0:
        advice = f"take such bytes out with `tr -d '\\000' < {shlex.quote(str(path))} > NEW` and give the new file."
    else:
        advice = way_out(path, name)
    return InputError(f"`{path}`, line {line}: byte {offset + place} of the file {what}; {advice}")


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
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{place}: {NUL} Write the record anew from the right encoding, or take it out.")
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
