"""Datasets of the Hugging Face hub, and other datasets that `datasets.load_dataset` reads."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.checksums import changed_while_read, content_hash, file_hash
from uddm_lightning.data.downloads import Download
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import require_text

FORMATS = ("arrow", "csv", "json", "parquet", "text")  # loaders of local files
SUFFIXES = (".arrow", ".csv", ".json", ".jsonl", ".parquet", ".txt", ".gz", ".zst")
Names = str | list[str] | dict[str, str | list[str]] | None


@dataclass(eq=False)
class HubDataset(Source):
    """Records of a dataset as documents, from one text column.

    Args:
        path: name of a dataset on the hub, a local folder, or a format such as "json" together with `data_files`.
        name: configuration of the dataset.
        split: training split. If `test_split` is null, rows are held out from it.
        test_split: official held-out split; it must not share records with `split`.
        field: column with the text.
        revision: commit, tag or branch on the hub. Pin a commit, so that the data do not change during a study.
        data_files: files of a dataset without its own loader.

    Raises:
        ValueError: `split` and `test_split` are equal.
    """

    path: str
    name: str | None = None
    split: str = "train"
    test_split: str | None = None
    field: str = "text"
    revision: str | None = None
    data_files: Names = None

    def __post_init__(self) -> None:
        if self.test_split == self.split:
            raise ValueError(f"`test_split` must differ from `split`, got {self.split!r} for both.")

    @classmethod
    @override
    def downloads(cls, **arguments: Any) -> list[Download]:
        path, name, files = arguments["path"], arguments.get("name"), arguments.get("data_files")
        if Path(path).exists() or path in FORMATS:
            return []
        patterns = _file_names(files) or ([f"{name}/*"] if name else [f"*{suffix}" for suffix in SUFFIXES])
        return [Download("dataset", path, arguments.get("revision") or "main", tuple(patterns))]

    @override
    def documents(self) -> Iterator[Document]:
        splits = [self.split] if self.test_split is None else [self.split, self.test_split]
        loaded = self._load_splits(splits)
        if self.test_split is not None:
            self._check_disjoint(loaded[0].info.splits)
        for split, dataset, official in zip(splits, loaded, ("train", "test"), strict=False):
            yield from self._documents(split, dataset, None if self.test_split is None else official)

    def _documents(self, split: str, dataset: Any, official: str | None) -> Iterator[Document]:
        place = f"Dataset `{self.path}`, split `{split}`"
        if self.field not in dataset.column_names:
            raise InputError(
                f"{place}: no column `{self.field}`; set `field` to one of {sorted(dataset.column_names)}."
            )
        batches = dataset.select_columns([self.field]).iter(batch_size=1024)
        for number, value in enumerate((value for batch in batches for value in batch[self.field]), 1):
            yield Document(require_text(value, f"{place}, record {number}, column `{self.field}`"), official)

    def _load_splits(self, splits: list[str]) -> list[Any]:
        """Return the splits. Local files are cached by their contents: `datasets` compares only modification times."""
        if not (files := self._files()):
            return [self._load(split) for split in splits]
        import datasets  # takes a second to import

        content = _hash_files(files)
        folder = Path(datasets.config.HF_DATASETS_CACHE) / "uddm_lightning" / content
        complete = folder / "complete"  # exists if the files did not change during loading
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder.with_suffix(".lock")):
                if not complete.exists():
                    shutil.rmtree(folder, ignore_errors=True)
                loaded = [self._load(split, str(folder)) for split in splits]
                if _hash_files(self._files()) != content:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise changed_while_read(f"A file of dataset `{self.path}`")
                complete.touch()
        except OSError as error:
            raise InputError(
                f"The cache folder `{folder}` of `datasets` cannot be used ({error}); set $HF_HOME to a writable "
                "folder with free space."
            ) from error
        return loaded

    def _files(self) -> dict[str, list[Path]]:
        """Return the local files of each split; empty for a dataset of the hub."""
        if "/" in self.path and not Path(self.path).exists():
            return {}
        import datasets

        with self._translate_errors(None):
            builder = datasets.load_dataset_builder(self.path, self.name, data_files=self.data_files)
        found = builder.config.data_files or {}
        return {str(split): [Path(name) for name in names if "://" not in name] for split, names in found.items()}

    def _load(self, split: str, cache: str | None = None) -> Any:
        import datasets

        with self._translate_errors(split):
            return datasets.load_dataset(
                self.path,
                self.name,
                split=split,
                revision=self.revision,
                data_files=self.data_files,
                cache_dir=cache,
            )

    @contextmanager
    def _translate_errors(self, split: str | None) -> Iterator[None]:
        """Convert all errors of loading a dataset to one `InputError`."""
        try:
            yield
        except Exception as error:  # errors of network, hub, readers and data share no base class
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(
                f"Dataset `{self.path}` (name {self.name!r}, split {split or self.split!r}) cannot be loaded: {reason} "
                "Check the names, and the network or the local copy."
            ) from error

    def _check_disjoint(self, lengths: dict[str, Any]) -> None:
        """Check that the training and the held-out split share no records.

        Args:
            lengths: `SplitInfo` of each split of the dataset, by name.

        Raises:
            InputError: they share records.
        """
        records = {name: split.num_examples for name, split in lengths.items()}
        files = {split: {path.resolve() for path in paths} for split, paths in self._files().items()}
        advice = "training and held-out text must not overlap; choose other splits."
        for name, begin, end in _parts(self.split, records):
            for other, other_begin, other_end in _parts(str(self.test_split), records):
                first, last = max(begin, other_begin), min(end, other_end) - 1
                if name == other and first <= last:
                    raise InputError(
                        f"Dataset `{self.path}`: `split: {self.split}` and `test_split: {self.test_split}` share "
                        f"records {first} to {last} of `{name}`; {advice}"
                    )
                if name != other and (both := files.get(name, set()) & files.get(other, set())):
                    raise InputError(
                        f"Dataset `{self.path}`: `{min(both)}` is in `split: {self.split}` and in "
                        f"`test_split: {self.test_split}`; {advice}"
                    )


def _parts(split: str, records: dict[str, int]) -> list[tuple[str, int, int]]:
    """Return name, first record and end of each part of a split such as `train[:80%]+validation`."""
    from datasets import ReadInstruction

    if split == "all":
        return [(name, 0, number) for name, number in records.items()]
    parts = ReadInstruction.from_spec(split).to_absolute(records)
    ends = [records[part.splitname] if part.to is None else part.to for part in parts]
    return [(part.splitname, part.from_ or 0, end) for part, end in zip(parts, ends, strict=True)]


def _hash_files(files: dict[str, list[Path]]) -> str:
    """Return the hex hash of the files of all splits."""
    return content_hash(json.dumps({split: [file_hash(path) for path in paths] for split, paths in files.items()}))


def _file_names(files: Names) -> list[str]:
    """Return the files of all splits in `data_files`."""
    if isinstance(files, dict):
        return [name for names in files.values() for name in _file_names(names)]
    return [files] if isinstance(files, str) else list(files or [])
