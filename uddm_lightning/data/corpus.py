"""Prepared corpus in a cache: rows of tokens, split into training pool and held-out rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from uddm_lightning.core.cache import cache_folder
from uddm_lightning.core.class_path import import_class
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import DISK_FULL_ERRNOS
from uddm_lightning.data.building import build_corpus
from uddm_lightning.data.checksums import changed_while_read, content_hash, verify_checksums
from uddm_lightning.data.notices import notice
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.rows import Rows
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import loss_message

# Version of the files. A new number leaves the folders of old versions in the cache unused.
# 2: lines end as `newlines` defines. 3: document of each row. 4: counts of lost characters. 5: `checksums.json`, and
# `truncated_documents` and `truncated_tokens` in `meta.json`.
FORMAT = 5

DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError)  # errors of reading missing or damaged files


class Corpus:
    """Rows of one text with one tokenizer and one packing.

    Args:
        folder: folder of the files.
        tokenizer: tokenizer; it loads the vocabulary of the corpus.

    Attributes:
        meta: counts and hashes of `meta.json`.
        tokenizer: the fitted tokenizer.
        train: the pool: all training rows.
        test: held-out rows; none of them occurs in the pool.
        unigram: int64 counts (V,) of the non-padding tokens of the pool.

    Raises:
        OSError: a file is missing or has other contents than were written; other damage raises an error of `DAMAGE`.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        verify_checksums(folder)
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.train = Rows(folder, "train", self.meta["train"])
        self.test = Rows(folder, "test", self.meta["test"])
        for rows in (self.train, self.test):
            rows.open()  # now: the cache may be deleted during a run
        self.unigram = torch.from_numpy(np.load(folder / "unigram.npy"))
        tokenizer.from_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.tokenizer = tokenizer

    @property
    def hash(self) -> str:
        """Hex hash of all rows."""
        return content_hash(f"{self.train.hash}:{self.test.hash}")

    def unigram_frequencies(self) -> torch.Tensor:
        """Return the frequencies (V,) of ids in the pool with add-one smoothing, float64."""
        counts = self.unigram.double() + 1.0
        return counts / counts.sum()


def prepare_corpus(
    source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, cache_dir: str | None = None
) -> Corpus:
    """Return the corpus from the cache; build it first if it is missing or damaged.

    If the tokenizer loses characters of the text, a line on stderr names them. Processes that need the same corpus wait
    for one of them to build it.

    Args:
        source: source of the text.
        tokenizer: tokenizer; it is fitted on the training documents or loads the cached vocabulary.
        packing: packing of documents into rows.
        test_fraction: fraction of documents to hold out if the source has no official split.
        cache_dir: cache folder; None is `$UDDM_CACHE`, or `~/.cache/uddm_lightning`.

    Raises:
        InputError: the text cannot be read, is too short or changed while it was read, or the cache is not writable.
        DiskFullError: the disk of the cache is full.
    """
    corpus = _load_or_build(source, tokenizer, packing, test_fraction, cache_folder(cache_dir))
    if lost := loss_message(corpus.meta["lost"], tokenizer.lossy_key, "the text"):
        notice(f"{lost}.")
    return corpus


def _load_or_build(source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, cache: Path) -> Corpus:
    spec = _corpus_spec(source.fingerprint(), tokenizer.spec(), packing.spec(), test_fraction)
    folder = _corpus_folder(cache, spec)
    if (corpus := _load(folder, tokenizer)) is not None:
        return corpus
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_suffix(".lock")):
            if (corpus := _load(folder, tokenizer)) is not None:  # another process built it meanwhile
                return corpus
            unfinished = folder.with_suffix(".unfinished")
            for stale in (folder, unfinished):
                if stale.exists():
                    shutil.rmtree(stale)
            unfinished.mkdir()
            try:
                _build_unchanged(unfinished, source, tokenizer, packing, test_fraction, spec)
                unfinished.replace(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            return Corpus(folder, tokenizer)
    except OSError as error:
        kind = DiskFullError if error.errno in DISK_FULL_ERRNOS else InputError
        raise kind(
            f"The cache folder `{cache}` cannot be used ({error}); set `data.cache_dir` or $UDDM_CACHE to a writable "
            "folder with free space."
        ) from error


def _build_unchanged(
    folder: Path, source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, spec: dict[str, Any]
) -> None:
    """Build the corpus, and check that the text still has the fingerprint of `spec`."""
    try:
        build_corpus(folder, source, tokenizer, packing, test_fraction, spec)
    except InputError as error:  # may be caused by text that another program is writing
        if source.fingerprint() != spec["fingerprint"]:
            raise changed_while_read("The text of `data.source`") from error
        raise
    if source.fingerprint() != spec["fingerprint"]:
        raise changed_while_read("The text of `data.source`")
    tokenizer.check_unchanged()


def load_cached_corpus(manifest: dict[str, Any], cache_dir: str | None = None) -> Corpus | None:
    """Return the corpus of a run from the cache; None if it is missing or differs from the run's manifest.

    Nothing is built, downloaded or written, and the text is not needed.
    """
    try:
        names = ("fingerprint", "tokenizer_spec", "packing", "test_fraction")
        folder = _corpus_folder(cache_folder(cache_dir), _corpus_spec(*(manifest[name] for name in names)))
        tokenizer_spec = manifest["tokenizer_spec"]
        corpus = Corpus(
            folder, import_class(tokenizer_spec["class_path"]).from_spec(tokenizer_spec, folder / "tokenizer.json")
        )
        return corpus if corpus.hash == manifest["corpus"] else None
    except (*DAMAGE, AttributeError, ImportError):  # the class of the tokenizer may be missing
        return None


def _corpus_spec(fingerprint: Any, tokenizer: Any, packing: Any, test_fraction: Any) -> dict[str, Any]:
    """Return the data that determine the files of a corpus."""
    parts = {"fingerprint": fingerprint, "tokenizer": tokenizer, "packing": packing, "test_fraction": test_fraction}
    return {"format": FORMAT, **parts}


def _corpus_folder(cache: Path, spec: dict[str, Any]) -> Path:
    return cache / content_hash(json.dumps(spec, sort_keys=True))


def _load(folder: Path, tokenizer: Tokenizer) -> Corpus | None:
    try:
        return Corpus(folder, tokenizer)
    except DAMAGE:
        return None
