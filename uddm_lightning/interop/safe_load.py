"""Load a file of `torch.save` from an untrusted source.

`torch.load(weights_only=True)` runs no code, but refuses every class that torch does not know. Here each unknown class
or function is replaced by a placeholder, so that a checkpoint can be read without the packages that it names.
"""

import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

MAX_PICKLE_BYTES = 2**28  # a checkpoint of any size needs less than a hundredth of that


class DamagedError(ValueError):
    """The file is not a valid file of `torch.save`."""


class OpaqueObject:
    """Placeholder for an object of a class that is not imported.

    Each class or function that a file names gets a subclass.

    Attributes:
        path: the dotted name in the file (of the subclass).
        state: the state that the object would have received: its attributes, as a rule.
    """

    path = ""
    state: Any = None

    def __new__(cls, *_: Any) -> "OpaqueObject":
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the object, as far as its state holds them by name."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)  # a pair: attributes and slots
        return {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}


def safe_load(path: Path) -> Any:
    """Return the content of a file of `torch.save`; import nothing and call nothing that the file names.

    The tensors are mapped from the file: memory is used for what is read from them.

    Args:
        path: the file.

    Returns:
        Plain containers, numbers, text and tensors, with `OpaqueObject` in the place of all other objects.

    Raises:
        DamagedError: the file is of another format, truncated, changed, or uses a pickle feature that torch refuses.
    """
    try:
        _check_archive(path)
        placeholders: list[Any] = [
            (_PLAIN.get(name) or type("OpaqueObject", (OpaqueObject,), {"path": name}), name)
            for name in get_unsafe_globals_in_checkpoint(path)
        ]
        with warnings.catch_warnings(action="ignore"), safe_globals(placeholders):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except DamagedError:
        raise
    except Exception as error:  # a pickle that is not valid makes its reader raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[-1]
        raise DamagedError(f"its pickle cannot be read as data ({reason[:200]})") from error


# Calls of plain containers that torch does not know: a dictionary that receives its items later, and the empty bytes.
_PLAIN = {"collections.defaultdict": lambda *_: OrderedDict(), "builtins.bytes": lambda *_: b""}


def _check_archive(path: Path) -> None:
    """Check that each record of the archive is uncompressed, unique and has its checksum, which torch does not."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the library raises errors of many types
        raise DamagedError(
            "it is no zip archive: damaged, or written before torch 1.6; save it again with a later torch"
        ) from error
    with archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        if len(set(names)) != len(names):
            raise DamagedError("two records in it have the same name")
        if not any(name.endswith("/data.pkl") for name in names):
            raise DamagedError("it holds no `data.pkl`, so it was not written by `torch.save`")
        if any(record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1 for record in records):
            raise DamagedError("a record in it is compressed or encrypted, which torch never does")
        if any(record.filename.endswith(".pkl") and record.file_size > MAX_PICKLE_BYTES for record in records):
            raise DamagedError(f"its pickle is larger than {MAX_PICKLE_BYTES:,} bytes")
        if (damaged := archive.testzip()) is not None:
            raise DamagedError(f"its record {damaged!r} does not match its checksum")
