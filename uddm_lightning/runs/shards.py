"""The file of samples, and the shards from which it is assembled.

Finished shards are written atomically to `FILE.parts/`. A lock beside each shard keeps two processes from drawing the
same one. The content of a shard depends only on its number. Therefore the file is the same, byte for byte, for any
number of processes and after any interruption.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_atomically, write_text

ROWS = 256  # rows of a shard, and of a row group in the file
KEY = b"uddm"  # key of the settings in the file's metadata
SHARD = pa.schema(
    [
        ("sample", pa.int64()),
        ("tokens", pa.list_(pa.int32())),
        ("entropy", pa.list_(pa.float32())),  # of each token, in nats
        ("unigram_entropy", pa.float64()),  # of the frequencies of ids in the sample, in nats
    ]
)
FILE = SHARD.insert(2, pa.field("text", pa.string()))


class Shards:
    """Samples 0 ... total - 1 of one setting.

    Args:
        file: the file to write.
        setting: all settings on which the samples depend.
        total: number of samples.

    Raises:
        InputError: the file or its shards have other settings, or the file cannot be read.
    """

    def __init__(self, file: Path, setting: dict[str, Any], total: int) -> None:
        self.file = file
        self.folder = file.with_name(f"{file.name}.parts")
        self.setting = setting
        self.total = total
        self._sound: set[int] = set()
        begun = self.folder / "setting.json"
        for path, theirs in ((file, read_settings(file) if file.exists() else None), (begun, _read_begun(begun))):
            self._check(path, theirs)

    def _check(self, path: Path, theirs: dict[str, Any] | None) -> None:
        for name, value in self.setting.items() if theirs is not None else ():
            if (other := (theirs or {}).get(name)) != value:
                raise InputError(
                    f"`{path}` holds samples of another setting: `{name}` is {other} there and {value} here. Choose "
                    f"another `--out`, or remove it{' and its folder' if path != self.file else ''}."
                )

    def __len__(self) -> int:
        return -(-self.total // ROWS)

    def range(self, number: int) -> range:
        """Return the numbers of the samples of a shard."""
        return range(number * ROWS, min((number + 1) * ROWS, self.total))

    def begin(self) -> None:
        """Write the settings to the folder of shards."""
        if not (self.folder / "setting.json").exists():
            write_text(self.folder / "setting.json", json.dumps(self.setting, indent=2, sort_keys=True) + "\n")

    def complete(self) -> bool:
        """Return whether the file holds at least this many samples."""
        return self.file.exists() and int(read_settings(self.file)["samples"]) >= self.total

    def rows(self, number: int) -> pa.Table:
        """Return the first samples of a shard that exist, in the folder or in a file with fewer samples."""
        wanted = self.range(number)
        found = [self._shard(number)]
        if len(found[0]) < len(wanted) and self.file.exists():
            held = int(read_settings(self.file)["samples"])
            if held > wanted.start:
                group = pq.ParquetFile(self.file, page_checksum_verification=True).read_row_group(number)
                found.append(group.select(SHARD.names).cast(SHARD))
        return max(found, key=len).slice(0, len(wanted))

    def done(self, number: int) -> bool:
        """Return whether a shard is complete and not damaged."""
        if number not in self._sound and len(self.rows(number)) == len(self.range(number)):
            self._sound.add(number)
        return number in self._sound

    def write(self, number: int, table: pa.Table) -> None:
        """Write a shard."""
        path = self._path(number)
        write_atomically(path, lambda temporary: pq.write_table(table, temporary, write_page_checksum=True))

    def lock(self, number: int) -> filelock.BaseFileLock:
        """Return the lock of a shard."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self._path(number).with_suffix(".lock"))

    def finish(self, more: dict[str, Any], text: Callable[[list[int]], str] | None) -> None:
        """Assemble the file from the shards and remove them.

        Args:
            more: other facts about the samples, for the file's metadata.
            text: decodes the ids of a sample; None leaves the column empty.

        Raises:
            KeyError: a shard is missing or damaged.
        """
        with self.lock(len(self)):  # one past the last
            if not self.complete():
                said = json.dumps({**more, **self.setting, "samples": self.total}, sort_keys=True)
                schema = FILE.with_metadata({KEY: said.encode()})

                def write(temporary: Path) -> None:
                    with pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer:
                        for number in range(len(self)):
                            writer.write_table(self._with_text(number, text).cast(schema))

                write_atomically(self.file, write)
        self._clean()

    def _with_text(self, number: int, text: Callable[[list[int]], str] | None) -> pa.Table:
        table = self.rows(number)
        if len(table) != len(self.range(number)):
            self._sound.discard(number)
            raise KeyError(number)
        texts = [text(ids) if text else None for ids in table["tokens"].to_pylist()]
        return table.add_column(2, FILE.field("text"), pa.array(texts, pa.string()))

    def _clean(self) -> None:
        """Remove the shards that are in the file. Others may belong to a process that draws more samples."""
        for path in self.folder.glob("*.parquet"):
            if len(_table(path)) + int(path.stem) * ROWS <= self.total:
                path.unlink(missing_ok=True)
        if not list(self.folder.glob("*.parquet")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"

    def _shard(self, number: int) -> pa.Table:
        table, first = _table(self._path(number)), number * ROWS
        sound = table["sample"].to_pylist() == list(range(first, first + len(table)))
        return table if sound else SHARD.empty_table()


def check_name(file: Path) -> None:
    """Refuse a file name that does not end in `.parquet`.

    Raises:
        InputError: the name has another ending; the message suggests a name.
    """
    if file.suffix != ".parquet":
        raise InputError(f"`--out {file}`: samples are written to a parquet file, such as `{file.stem}.parquet`.")


def read_settings(file: Path) -> dict[str, Any]:
    """Return the settings of the samples in a file, from its metadata.

    Raises:
        InputError: the file holds no samples, or is damaged.
    """
    try:
        said = json.loads((pq.read_schema(file).metadata or {})[KEY])
        int(said["samples"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(
            f"`{file}` is there and is no file of samples, or a damaged one. Move it away, or choose another `--out`."
        ) from error
    assert isinstance(said, dict)
    return said


def batches(file: Path) -> Iterable[pa.Table]:
    """Return an iterator over the shards in a file of samples."""
    whole = pq.ParquetFile(file, page_checksum_verification=True)
    return (whole.read_row_group(number) for number in range(whole.num_row_groups))


def _table(path: Path) -> pa.Table:
    """Return the shard in a file; empty if it is missing or damaged."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return table if table.schema.equals(SHARD) else SHARD.empty_table()
    except (OSError, ValueError, pa.ArrowException):
        return SHARD.empty_table()


def _read_begun(path: Path) -> dict[str, Any] | None:
    """Return the settings of the folder of shards; None without a file, empty if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        content = {}
    return content if isinstance(content, dict) else {}
