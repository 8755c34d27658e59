"""Streaming readers of text, JSON Lines and Parquet files, optionally gzipped, with errors that name file and line."""

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
from uddm_lightning.data.newlines import normalize_newlines, split_lines
from uddm_lightning.data.sources.encodings import ESCAPE, conversion_advice, detect_encoding, is_iso_2022_jp

CHUNK_BYTES = 2**20  # bytes per decoding step, up to the next line end
SAMPLE_BYTES = 2**16  # bytes for the detection of an encoding
NUL = "the text contains null characters (U+0000); it may be UTF-16 that was read in another encoding."


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without their line ends (see `newlines`); a byte order mark is skipped.

    Raises:
        InputError: the file cannot be read or is not UTF-8 text.
    """
    offset, number = 0, 1  # first byte and line of the chunk
    with _translate_errors(path), _open(path) as stream:
        for raw in _read_whole_lines(stream):
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _encoding_error(path, raw, error.start, offset, number, "is not UTF-8") from error
            if "\0" in text:
                raise _encoding_error(path, raw, raw.index(b"\0"), offset, number, "is null, which is not text")
            if is_iso_2022_jp(raw):
                raise _encoding_error(path, raw, raw.index(ESCAPE), offset, number, "starts another encoding")
            lines = split_lines(text.removeprefix("\ufeff") if offset == 0 else text)
            offset, number = offset + len(raw), number + len(lines)
            yield from lines


def _read_whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks that end with a line end."""
    parts: list[bytes] = []
    while chunk := stream.read(CHUNK_BYTES):
        # a carriage return at the end may belong to the line feed that starts the next chunk
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, len(chunk) - 1)) + 1
        parts.append(chunk[:end] if end else chunk)
        if end:
            yield b"".join(parts)
            parts = [chunk[end:]]
    if rest := b"".join(parts):
        yield rest


def _encoding_error(path: Path, raw: bytes, position: int, offset: int, number: int, problem: str) -> InputError:
    """Return the error for a byte that is not UTF-8 text.

    Args:
        path: the file.
        raw: lines of the file.
        position: position of the byte in `raw`.
        offset: position of `raw` in the file.
        number: line number of the first line of `raw`.
        problem: description of the error.
    """
    line = number + normalize_newlines(raw[:position].decode("utf-8", "replace") + ".").count("\n")
    begin = 0 if offset + position < SAMPLE_BYTES else offset + raw.rfind(b"\n", 0, position) + 1
    with _open(path) as stream:
        stream.seek(begin)
        sample = stream.read(SAMPLE_BYTES)
    text, encoding = sample.decode("utf-8", "replace"), detect_encoding(sample)
    invalid = text.count("\ufffd") + text.count("\0")
    if sum(character > "\x7f" for character in text) > 2 * invalid and not is_iso_2022_jp(sample):
        advice = "the text around it is UTF-8: repair or remove it."
    elif encoding is None and raw[position] == 0:
        advice = f"remove null bytes with `tr -d '\\000' < {shlex.quote(str(path))} > NEW` and use the new file."
    else:
        advice = conversion_advice(path, encoding)
    return InputError(f"`{path}`, line {line}: byte {offset + position} of the file {problem}; {advice}")


def read_records(path: Path, field: str) -> Iterator[str]:
    """Yield the text in `field` of each line of a JSON Lines file; blank lines are skipped.

    Raises:
        InputError: the file cannot be read, or a line has no such text.
    """
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"`{path}`, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number with thousands of digits raises a ValueError
            raise InputError(f"{place}: not valid JSON ({error}); write one JSON object per line.") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: a {type(record).__name__} instead of a JSON object with a field `{field}`.")
        if field not in record:
            raise InputError(f"{place}: no field `{field}`; set `field` to one of {reprlib.repr(sorted(record))}.")
        yield require_text(record[field], f"{place}, field `{field}`")


def read_column(path: Path, field: str) -> Iterator[str]:
    """Yield the text in column `field` of each row of a Parquet file.

    Raises:
        InputError: the file cannot be read, or a row has no such text.
    """
    with _translate_errors(path), _open(path) as stream, tempfile.TemporaryFile() as unpacked:
        is_packed = path.suffix == ".gz"
        if is_packed:  # the reader needs a seekable stream
            shutil.copyfileobj(stream, unpacked)
        file = pyarrow.parquet.ParquetFile(unpacked if is_packed else stream)
        names = file.schema_arrow.names
        if field not in names:
            raise InputError(f"`{path}`: no column `{field}`; set `field` to one of {reprlib.repr(sorted(names))}.")
        batches = file.iter_batches(batch_size=1024, columns=[field])
        values = (value for batch in batches for value in batch.column(0).to_pylist())
        for number, value in enumerate(values, 1):
            yield require_text(value, f"`{path}`, row {number}, column `{field}`")


def require_text(value: object, place: str) -> str:
    """Return `value` if it is text.

    Args:
        value: field of a record.
        place: location of the record, for the error message.

    Raises:
        InputError: `value` is not a string, or contains null characters.
    """
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{place}: {NUL} Convert the record from its encoding, or remove it.")
    if not isinstance(value, str):
        raise InputError(f"{place}: {reprlib.repr(value)} is not text; choose a `field` that holds strings.")
    return value


def read_document(path: Path) -> str:
    """Return the text of a UTF-8 file with a line feed as every line end."""
    return "\n".join(read_lines(path))


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Convert all errors of reading a file to an `InputError`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"`{path}` is not a complete gzip file ({error}); download or compress it again.") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` is not a readable Parquet file ({error}); write or download it again.") from error
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
