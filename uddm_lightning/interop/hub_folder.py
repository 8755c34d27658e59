"""Read a model folder in the layout of the Hugging Face hub from an untrusted source.

Only JSON and safetensors are read. No code in the folder is imported, whatever its `config.json` names.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import InputError, first_line, sanitize_message

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt")  # of tokenizers without a `tokenizer.json`
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
MAX_JSON_BYTES = 2**26  # a tokenizer of 256,000 ids has 34 MB
MAX_HEADER_BYTES = 100_000_000  # of the library
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}  # dtypes of tensors


class Entry(NamedTuple):
    """A tensor in a file.

    Attributes:
        file: path of the file.
        shape: of the tensor.
        dtype: of the tensor, as safetensors names it.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


class StoredWeights(Mapping[str, Tensor]):
    """Tensors of a folder by name. A tensor is read from its file when it is asked for.

    Attributes:
        entries: files and shapes of all tensors.
    """

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries
        self._open: dict[Path, Any] = {}

    @override
    def __getitem__(self, name: str) -> Tensor:
        file = self.entries[name].file
        if file not in self._open:
            self._open[file] = safe_open(file, framework="pt")
        tensor: Tensor = self._open[file].get_tensor(name)
        return tensor

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    @override
    def __len__(self) -> int:
        return len(self.entries)


class HubFolder:
    """A folder with `config.json` and `model.safetensors`, or several safetensors files with an index.

    Args:
        path: the folder.

    Attributes:
        config: content of `config.json`.
        weights: the tensors; their files were checked, their data are read on use.
        files: files of the weights.

    Raises:
        InputError: a file is missing, damaged, outside of the folder, or holds pickles.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = self._weight_files()
        self.config = self._json(CONFIG)
        entries: dict[str, Entry] = {}
        for file in self.files:
            found = self._entries(file)
            if twice := sorted(entries.keys() & found.keys()):
                raise self.refusal(f"two of its files hold `{sanitize_message(twice[0])}`")
            entries |= found
        self.weights = StoredWeights(entries)

    def text(self, name: str) -> str | None:
        """Return the content of a text file in the folder; None if there is none.

        Raises:
            InputError: it is outside of the folder, too large, or not UTF-8.
        """
        if not (self.path / name).exists():
            return None
        file = self._inside(name)
        if (size := file.stat().st_size) > MAX_JSON_BYTES:
            raise self.refusal(f"its `{name}` has {size:,} bytes, more than {MAX_JSON_BYTES:,}")
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.refusal(f"its `{name}` cannot be read ({first_line(error)})") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file in the folder; empty if there is none.

        Raises:
            InputError: as for `text`, or it is no JSON object.
        """
        return self._json(name) if (self.path / name).exists() else {}

    def whole(self, key: str, smallest: int = 1) -> int:
        """Return a whole number of `config.json`.

        Raises:
            InputError: it is missing, no whole number, or smaller than `smallest`.
        """
        value = self.config.get(key)
        if type(value) is not int or not smallest <= value < 2**31:
            raise self.refusal(f"its `{CONFIG}` says `{key}` = {shown(value)}, and a whole number is needed")
        return value

    def refusal(self, why: str) -> InputError:
        """Return the error that says why the folder cannot be converted."""
        return InputError(f"`{self.path}` cannot be converted: {why}.")

    def _json(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        if text is None:
            raise self.refusal(f"it holds no `{name}`")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"its `{name}` is no JSON ({first_line(error)})") from error
        if not isinstance(content, dict):
            raise self.refusal(f"its `{name}` is no JSON object")
        return content

    def _weight_files(self) -> list[Path]:
        if (self.path / WEIGHTS).exists():
            return [self._inside(WEIGHTS)]
        if (self.path / INDEX).exists():
            names = self._json(INDEX).get("weight_map")
            if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
                raise self.refusal(f"its `{INDEX}` has no `weight_map` of tensors to files")
            return [self._inside(name) for name in sorted(set(names.values()))]
        pickles = sorted(file.name for file in self.path.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise self.refusal(
                f"it holds no `{WEIGHTS}`, only {', '.join(map(sanitize_message, pickles[:4]))}, which may run code "
                "when it is read and is not opened. Ask for the weights as safetensors"
            )
        raise self.refusal(f"it holds neither `{WEIGHTS}` nor `{INDEX}`")

    def _inside(self, name: str) -> Path:
        """Return the path of a file of the folder.

        The folders of the hub's cache link to files beside them, in `blobs` of the same repository.
        """
        shown = sanitize_message(name)[:120]
        if Path(name).name != name or "\\" in name or not name.isprintable() or name in (".", ".."):
            raise self.refusal(f"its `{INDEX}` names the file `{shown}`, which is no file in the folder")
        folder, file = self.path.resolve(), (self.path / name).resolve()
        allowed = [folder, *([folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else [])]
        if file.parent not in allowed:
            raise self.refusal(f"its `{shown}` is a link to `{file}`, outside of the folder")
        if not file.is_file():
            raise self.refusal(f"its `{shown}` is no file")
        return file if file.parent == folder else self.path / name

    def _entries(self, file: Path) -> dict[str, Entry]:
        """Return the tensors that a file declares, after a check of their sizes against the size of the file."""
        total = file.stat().st_size
        with file.open("rb") as stream:
            prefix = stream.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else total
            if not 2 <= length <= min(total - 8, MAX_HEADER_BYTES):
                raise self.refusal(f"`{file.name}` says that its header has {length:,} bytes, and it has {total:,}")
            header = stream.read(length)
        try:
            declared = json.loads(header, object_pairs_hook=_without_duplicates)
            places = {name: _place(one) for name, one in declared.items() if name != "__metadata__"}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise self.refusal(
                f"the header of `{file.name}` is damaged ({sanitize_message(first_line(error))})"
            ) from error
        end = 0
        for name, (_, begin, stop) in sorted(places.items(), key=lambda item: item[1][1:]):
            if begin != end or stop > total - 8 - length:
                raise self.refusal(f"the data of `{sanitize_message(name)[:120]}` do not lie where `{file.name}` says")
            end = stop
        if end != total - 8 - length:
            raise self.refusal(f"`{file.name}` has {total:,} bytes, and its header describes {8 + length + end:,}")
        try:
            with safe_open(file, framework="pt"):
                pass
        except Exception as error:  # the library raises errors of its own
            raise self.refusal(f"`{file.name}` cannot be read ({first_line(error)})") from error
        return {name: Entry(file, shape, declared[name]["dtype"]) for name, (shape, _, _) in places.items()}


def shown(value: Any) -> str:
    """Return a value of `config.json` as text for a message."""
    return "nothing" if value is None else repr(value)[:80]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _place(entry: dict[str, Any]) -> tuple[tuple[int, ...], int, int]:
    """Return shape, begin and end of a tensor in the header of a file."""
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, begin, end]
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers) or len(shape) > 8:
        raise ValueError("a shape or an offset is no list of sizes")
    if dtype not in BYTES:
        raise ValueError(f"a tensor is of dtype {str(dtype)[:20]!r}, and only {', '.join(BYTES)} are known")
    if end - begin != math.prod(shape) * BYTES[dtype]:
        raise ValueError("a tensor has another size than its shape")
    return tuple(shape), begin, end
