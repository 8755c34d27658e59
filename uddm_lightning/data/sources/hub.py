"""Datasets of the Hugging Face hub, or anything else that `datasets.load_dataset` reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from uddm_lightning.data.downloads import Download
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import checked_text
from uddm_lightning.errors import InputError

FORMATS = ("arrow", "csv", "json", "parquet", "text")  # that need no repository, only files
SUFFIXES = (".arrow", ".csv", ".json", ".jsonl", ".parquet", ".txt", ".gz", ".zst")
Names = str | list[str] | dict[str, str | list[str]] | None


class HubDataset(Source):
    """Documents from one text column of a dataset; each record is a document.

    Args:
        path: name of a dataset on the hub, a local folder, or a format such as "json" together with `data_files`.
        name: configuration of the dataset.
        split: the split to train on; where `test_split` is None, rows are held out from it.
        test_split: official held-out split.
        field: column that holds the text.
        revision: commit, tag or branch on the hub; pin one, or the data may change under a study.
        data_files: files of a dataset without a loader of its own.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        split: str = "train",
        test_split: str | None = None,
        field: str = "text",
        revision: str | None = None,
        data_files: Names = None,
    ) -> None:
        if test_split == split:
            raise ValueError(f"`test_split` must differ from `split`, got {split!r} for both.")
        self.path = path
        self.name = name
        self.split = split
        self.test_split = test_split
        self.field = field
        self.revision = revision
        self.data_files = data_files

    @classmethod
    @override
    def downloads(cls, **arguments: Any) -> list[Download]:
        path, name, files = arguments["path"], arguments.get("name"), arguments.get("data_files")
        if Path(path).exists() or path in FORMATS:
            return []
        patterns = _names(files) or ([f"{name}/*"] if name else [f"*{suffix}" for suffix in SUFFIXES])
        return [Download("dataset", path, arguments.get("revision") or "main", tuple(patterns))]

    @override
    def documents(self) -> Iterator[Document]:
        if self.test_split is None:
            yield from self._documents(self.split, None)
        else:
            yield from self._documents(self.split, "train")
            yield from self._documents(self.test_split, "test")

    def _documents(self, split: str, official: str | None) -> Iterator[Document]:
        dataset = self._load(split)
        place = f"Dataset `{self.path}`, split `{split}`"
        if self.field not in dataset.column_names:
            raise InputError(
                f"{place}: no column `{self.field}`; set `field` to one of {sorted(dataset.column_names)}."
            )
        number = 0
        for batch in dataset.select_columns([self.field]).iter(batch_size=1024):
            for value in batch[self.field]:
                number += 1
                yield Document(checked_text(value, f"{place}, record {number}, column `{self.field}`"), official)

    def _load(self, split: str) -> Any:
        import datasets  # takes a second that no other source should cost

        try:
            return datasets.load_dataset(
                self.path, self.name, split=split, revision=self.revision, data_files=self.data_files
            )
        except Exception as error:  # network, hub, reader and data errors share no base class
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(
                f"Dataset `{self.path}` (name {self.name!r}, split {split!r}) cannot be loaded: {reason} "
                "Check the names, and the network or the local copy."
            ) from error


def _names(files: Names) -> list[str]:
    """All files of `data_files`, whatever split they belong to."""
    if isinstance(files, dict):
        return [name for one in files.values() for name in _names(one)]
    return [files] if isinstance(files, str) else list(files or [])
