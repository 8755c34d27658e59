"""A prepared corpus: rows of tokens, split into training pool and held-out rows, kept in a cache."""

import json
import shutil
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from uddm_lightning.core.cache import cache_folder
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import DISK_FULL_ERRNOS
from uddm_lightning.data import checksums as seal
from uddm_lightning.data.building import build
from uddm_lightning.data.component_spec import digest
from uddm_lightning.data.fingerprints import changed
from uddm_lightning.data.notices import notice
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.rows import Rows
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import sentence

# Of the files; another number leaves old caches alone. A cache of before there was a seal counts as damaged: the same
# files are built in its place.
# 2: a line is what `newlines` defines. 3: the document of each row is kept. 4: lost characters are counted.
FORMAT = 4

DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError)  # what reading absent or broken files may raise


class Corpus:
    """The rows of one text under one tokenizer and one packing.

    Args:
        folder: where its files lie.
        tokenizer: takes over the vocabulary in them.

    Attributes:
        meta: counts and hashes, as in `meta.json`.
        tokenizer: the fitted tokenizer.
        train: the pool: all training rows.
        test: held-out rows; none of them occurs in the pool.
        unigram: int64 counts (V,) of the non-padding tokens of the pool.

    Raises:
        OSError: a file is missing or does not hold what was written; other damage raises one of `DAMAGE`.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        seal.check(folder)
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.train = Rows(folder, "train", self.meta["train"])
        self.test = Rows(folder, "test", self.meta["test"])
        for rows in (self.train, self.test):
            rows.open()  # at once: a run outlives its cache
        self.unigram = torch.from_numpy(np.load(folder / "unigram.npy"))
        tokenizer.from_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.tokenizer = tokenizer

    @property
    def hash(self) -> str:
        """Hex hash of all rows."""
        return digest(f"{self.train.hash}:{self.test.hash}".encode())

    def unigram_frequencies(self) -> torch.Tensor:
        """Return the frequencies (V,) of ids in the pool, add-one smoothed, float64."""
        counts = self.unigram.double() + 1.0
        return counts / counts.sum()


def prepare(
    source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, cache_dir: str | None = None
) -> Corpus:
    """Opens the corpus in the cache, and builds it first if it is not there or damaged.

    A line on stderr says which characters of the text the tokenizer loses, if any.

    Processes that ask for the same corpus at once wait for one of them to build it.

    Args:
        source: the text.
        tokenizer: fitted on the training documents, or given the vocabulary in the cache.
        packing: lays documents into rows.
        test_fraction: share of documents to hold out where the source has no official split.
        cache_dir: the cache; None is `$UDDM_CACHE`, or `~/.cache/uddm_lightning`.

    Raises:
        InputError: the text cannot be read, is too short or changed while it was read, or the cache cannot be written.
        DiskFullError: the cache has no space left.
    """
    corpus = _prepared(source, tokenizer, packing, test_fraction, cache_folder(cache_dir))
    if lost := sentence(corpus.meta["lost"], tokenizer.blamed, "the text"):
        notice(f"{lost}.")
    return corpus


def _prepared(source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, cache: Path) -> Corpus:
    about = _about(source.fingerprint(), tokenizer.spec(), packing.spec(), test_fraction)
    folder = _folder(cache, about)
    if (corpus := _opened(folder, tokenizer)) is not None:
        return corpus
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_suffix(".lock")):
            if (corpus := _opened(folder, tokenizer)) is not None:  # another process was faster
                return corpus
            unfinished = folder.with_suffix(".unfinished")
            for stale in (folder, unfinished):
                if stale.exists():
                    shutil.rmtree(stale)
            unfinished.mkdir()
            try:
                _build(unfinished, source, tokenizer, packing, test_fraction, about)
                unfinished.replace(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            return Corpus(folder, tokenizer)
    except OSError as error:
        kind = DiskFullError if error.errno in DISK_FULL_ERRNOS else InputError
        raise kind(
            f"The cache folder `{cache}` cannot be used ({error}); set `data.cache_dir` or $UDDM_CACHE to a folder "
            "that can be written and has space."
        ) from error


def _build(
    folder: Path, source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, about: dict[str, Any]
) -> None:
    """Builds the files from the very text that `about` names."""
    try:
        build(folder, source, tokenizer, packing, test_fraction, about)
    except InputError as error:  # text that somebody is writing may look like anything
        if source.fingerprint() != about["fingerprint"]:
            raise changed("The text of `data.source`") from error
        raise
    if source.fingerprint() != about["fingerprint"]:
        raise changed("The text of `data.source`")
    tokenizer.check_unchanged()


def cached(manifest: dict[str, Any], cache_dir: str | None = None) -> Corpus | None:
    """The corpus of a run, found in the cache by the run's manifest; None where it is not there or has changed.

    Nothing is built, downloaded or written, and neither the text itself nor its source need be at hand.
    """
    try:
        told = (manifest[name] for name in ("fingerprint", "tokenizer_spec", "packing", "test_fraction"))
        folder = _folder(cache_folder(cache_dir), _about(*told))
        corpus = Corpus(folder, Tokenizer.kept(manifest["tokenizer_spec"], folder / "tokenizer.json"))
        return corpus if corpus.hash == manifest["corpus"] else None
    except (*DAMAGE, AttributeError, ImportError):  # the class of the tokenizer may be gone, too
        return None


def _about(fingerprint: Any, tokenizer: Any, packing: Any, test_fraction: Any) -> dict[str, Any]:
    """What determines the files of a corpus."""
    parts = {"fingerprint": fingerprint, "tokenizer": tokenizer, "packing": packing, "test_fraction": test_fraction}
    return {"format": FORMAT, **parts}


def _folder(cache: Path, about: dict[str, Any]) -> Path:
    return cache / digest(json.dumps(about, sort_keys=True).encode())


def _opened(folder: Path, tokenizer: Tokenizer) -> Corpus | None:
    try:
        return Corpus(folder, tokenizer)
    except DAMAGE:
        return None
