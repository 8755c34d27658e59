"""The file format of torch: a zip archive of one pickle and of records that hold the numbers of tensors."""

import math
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from uddm_lightning.interop.safe_pickle import Builder, DamagedError, Name, Reference, read

LARGEST_PICKLE = 2**28  # bytes; that of a checkpoint of any size has less than a hundredth of that
PIECE = 2**20  # bytes that are read at a time
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class StoredTensor(NamedTuple):
    """Where the numbers of a tensor lie; they are read once they are asked for.

    Attributes:
        kind: name of the storage's type in torch, such as "FloatStorage".
        record: name of the record.
        numbers: how many the record holds.
        offset: number with which the tensor begins.
        shape: of the tensor.
        stride: numbers from one place to the next, for each dimension.
    """

    kind: str
    record: str
    numbers: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class TorchFile:
    """A file of `torch.save`, opened without running what it names; a context manager.

    Args:
        path: the file.

    Attributes:
        content: what was saved, as `inert.read` gives it, with a `StoredTensor` for every tensor.

    Raises:
        DamagedError: the file is of another kind, cut off, or not as it was written.
    """

    def __init__(self, path: Path) -> None:
        self._last: tuple[str, Tensor] | None = None  # a record, of which several tensors may be parts
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # what is no archive makes the library raise anything
            raise DamagedError(
                "it is no zip archive: damaged, or not written by torch 1.6 or later; with such a torch, save it again"
            ) from error
        try:
            self._records = {record.filename: record for record in self._archive.infolist()}
            self._check_records()
            self._folder = self._find_folder()
            if self._records.get(f"{self._folder}/byteorder") and self._bytes("byteorder") != sys.byteorder.encode():
                raise DamagedError("its numbers are written in another order of bytes than this machine's")
            self.content = read(self._bytes("data.pkl"), BUILDERS)
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> "TorchFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def check(self, stored: StoredTensor) -> torch.dtype:
        """Looks whether the numbers of a tensor are all there, without reading them; returns their type.

        Raises:
            DamagedError: they do not all lie within their record.
        """
        dtype = DTYPES.get(stored.kind)
        if dtype is None:
            raise DamagedError("a tensor in it is of a type that is not read")
        record = self._records.get(f"{self._folder}/data/{stored.record}")
        if record is None:
            raise DamagedError("the numbers of a tensor in it are missing")
        if record.file_size != stored.numbers * dtype.itemsize:
            raise DamagedError("a record in it has another size than its pickle says")
        count = math.prod(stored.shape)
        last = stored.offset + sum((size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True))
        if count > stored.numbers or (count and last >= stored.numbers):  # repeated numbers could be any amount
            raise DamagedError("a tensor in it reaches beyond its record")
        return dtype

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The numbers of a tensor, as a copy of its own.

        Raises:
            DamagedError: they do not all lie within their record.
        """
        dtype = self.check(stored)
        if not math.prod(stored.shape):
            return torch.empty(stored.shape, dtype=dtype)
        if self._last is None or self._last[0] != stored.record:
            self._last = None  # one record at a time is held
            self._last = stored.record, self._read(self._records[f"{self._folder}/data/{stored.record}"])
        return self._last[1].view(dtype).as_strided(stored.shape, stored.stride, stored.offset).clone()

    def _check_records(self) -> None:
        """Every record is stored as it is, lies within the file, and holds what was written."""
        total = sum(record.file_size for record in self._records.values())
        if len(self._records) != len(self._archive.infolist()):
            raise DamagedError("two records in it have the same name")
        with tqdm(total=total, desc="Checking the file", unit="B", unit_scale=True, delay=2, leave=False) as bar:
            for record in self._records.values():
                if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
                    raise DamagedError("a record in it is compressed or encrypted, which torch never does")
                with self._opened(record) as file:
                    while piece := file.read(PIECE):  # at the end of the record, its checksum is compared
                        bar.update(len(piece))

    def _find_folder(self) -> str:
        pickles = [name for name in self._records if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise DamagedError("it holds no `data.pkl`, so it is no file of `torch.save`")
        return pickles[0].removesuffix("/data.pkl")

    def _bytes(self, name: str) -> bytes:
        record = self._records[f"{self._folder}/{name}"]
        if record.file_size > LARGEST_PICKLE:
            raise DamagedError(f"its record `{name}` is larger than that of any checkpoint")
        with self._opened(record) as file:
            return file.read()

    def _read(self, record: zipfile.ZipInfo) -> Tensor:
        buffer = bytearray(record.file_size)
        view, place = memoryview(buffer), 0
        with self._opened(record) as file:
            while piece := file.read(min(PIECE, len(view) - place)):
                view[place : place + len(piece)] = piece
                place += len(piece)
        assert place == len(view)  # the library raises where a record ends too early
        return torch.frombuffer(buffer, dtype=torch.uint8)

    @contextmanager
    def _opened(self, record: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(record) as file:
                yield file
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:  # as the library puts it
            raise DamagedError("a record in it is not as it was written") from error


def _tensor(storage: object, offset: object, shape: object, stride: object, *_: object) -> StoredTensor:
    """What `torch._utils._rebuild_tensor_v2` would have made."""
    place = storage.to if isinstance(storage, Reference) else None
    match place, offset, shape, stride:
        case ("storage", Name("torch", kind), str(record), _, int(numbers)), int(), tuple(), tuple():
            whole = (numbers, offset, *shape, *stride)
            if all(type(number) is int and 0 <= number < 2**62 for number in whole) and len(shape) == len(stride):
                return StoredTensor(kind, record, numbers, offset, shape, stride)
            raise DamagedError("a tensor in it has a size, a stride or a place that no tensor has")
    raise DamagedError("a tensor in it is described in a way that torch does not use")


def _parameter(tensor: object, *_: object) -> object:
    return tensor


BUILDERS: dict[Name, Builder] = {
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
}
