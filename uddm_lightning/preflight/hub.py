"""What a run would fetch from the Hugging Face hub: asked there, or as stated here where it cannot be asked."""

import importlib
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any, NamedTuple, Protocol

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from uddm_lightning.data.downloads import Download

PATIENCE = 10.0  # seconds in which the hub has to answer


class Stated(NamedTuple):
    """What is known of a repository without asking.

    Attributes:
        size: bytes of the files that are fetched.
        text: bytes of the text in them; 0 for a tokenizer.
        vocab_size: ids of a tokenizer; 0 for a data set.
    """

    size: int
    text: int = 0
    vocab_size: int = 0


BERT, GPT2 = Stated(466_062, vocab_size=30_522), Stated(1_355_256, vocab_size=50_257)
STATED = {  # from the hub's public pages; of other files and revisions it would be something else
    "billion-word-benchmark/lm1b": Stated(3_090_000_000, text=4_281_148_561),
    "afmck/text8": Stated(54_357_043, text=100_000_012),
    "Salesforce/wikitext": Stated(315_000_000, text=546_000_000),
    "Skylion007/openwebtext": Stated(24_200_000_000, text=39_769_494_896),
    "bert-base-uncased": BERT,
    "google-bert/bert-base-uncased": BERT,
    "gpt2": GPT2,
    "openai-community/gpt2": GPT2,
}


class Hub(Protocol):
    """The one question that is asked; `huggingface_hub.HfApi` answers it."""

    def repo_info(self, repo_id: str, *, revision: str, repo_type: str, timeout: float, files_metadata: bool) -> Any:
        """The repository with its files and their sizes."""


class Found(NamedTuple):
    """A download, measured.

    Attributes:
        download: what would be fetched.
        files: how many files; None where the hub was not reached.
        size: bytes of all of them; None where nobody knows.
        cached: bytes of them that are here already.
        unreached: why the hub did not answer; empty where it did.
    """

    download: Download
    files: int | None
    size: int | None
    cached: int
    unreached: str = ""

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return max(0, (self.size or 0) - self.cached)

    @property
    def stated(self) -> Stated | None:
        """What is known of the repository anyway."""
        return STATED.get(self.download.repo)


def downloads_of(config: Any) -> Iterator[Download]:
    """What the classes that a configuration names say they would fetch."""
    if not isinstance(config, dict):
        return
    if isinstance(path := config.get("class_path"), str):
        module, _, name = path.rpartition(".")
        ask = getattr(getattr(importlib.import_module(module), name), "downloads", None)
        if ask is not None:
            yield from ask(**(config.get("init_args") or {}))
    for value in config.values():
        yield from downloads_of(value)


def survey(download: Download, hub: Hub) -> Found:
    """Asks the hub for files and sizes, and the cache for what is here."""
    cached = cached_files(download)
    try:
        info = hub.repo_info(
            download.repo,
            revision=download.revision,
            repo_type=download.kind,
            timeout=PATIENCE,
            files_metadata=True,
        )
    except Exception as error:  # errors of network, hub and offline mode share no base class
        stated = STATED.get(download.repo)
        why = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        return Found(download, None, stated and stated.size, sum(cached.values()), why)
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or [] if _wanted(one.rfilename, download)}
    return Found(download, len(sizes), sum(sizes.values()), sum(sizes[name] for name in sizes if name in cached))


def cached_files(download: Download) -> dict[str, int]:
    """Names and bytes of the wanted files that lie in the hub's cache on this machine, at the wanted revision."""
    try:
        cache = scan_cache_dir()
    except (CacheNotFound, ValueError):
        return {}
    files: dict[str, int] = {}
    for repo in cache.repos:
        if (repo.repo_id, repo.repo_type) != (download.repo, download.kind):
            continue
        for revision in repo.revisions:
            if revision.commit_hash != download.revision and download.revision not in revision.refs:
                continue
            names = {file.file_path.relative_to(revision.snapshot_path).as_posix(): file for file in revision.files}
            files.update({name: file.size_on_disk for name, file in names.items() if _wanted(name, download)})
    return files


def _wanted(name: str, download: Download) -> bool:
    return any(fnmatch(name, pattern) for pattern in download.patterns)
