"""Sizes of the downloads of a run: from the Hugging Face hub, or from a table of known repositories when offline."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from huggingface_hub import snapshot_download

from uddm_lightning.core.class_path import import_class
from uddm_lightning.data.downloads import Download

HUB_TIMEOUT = 10.0  # seconds


class KnownRepo(NamedTuple):
    """Sizes of a repository, for use without network.

    Attributes:
        size: bytes of the downloaded files.
        text_bytes: bytes of the text in them; 0 for a tokenizer.
        vocab_size: number of ids of a tokenizer; 0 for a dataset.
    """

    size: int
    text_bytes: int = 0
    vocab_size: int = 0


BERT, GPT2 = KnownRepo(466_062, vocab_size=30_522), KnownRepo(1_355_256, vocab_size=50_257)
KNOWN_REPOS = {  # source: the hub's public pages, for the files and revisions in `configs/`
    "billion-word-benchmark/lm1b": KnownRepo(3_090_000_000, text_bytes=4_281_148_561),
    "afmck/text8": KnownRepo(54_357_043, text_bytes=100_000_012),
    "Salesforce/wikitext": KnownRepo(315_000_000, text_bytes=546_000_000),
    "Skylion007/openwebtext": KnownRepo(24_200_000_000, text_bytes=39_769_494_896),
    "bert-base-uncased": BERT,
    "google-bert/bert-base-uncased": BERT,
    "gpt2": GPT2,
    "openai-community/gpt2": GPT2,
}


class Hub(Protocol):
    """Interface to the hub, as in `huggingface_hub.HfApi`."""

    def repo_info(self, repo_id: str, *, revision: str, repo_type: str, timeout: float, files_metadata: bool) -> Any:
        """Return the repository with the names and sizes of its files."""


class DownloadSize(NamedTuple):
    """Size of a download.

    Attributes:
        download: the files.
        num_files: number of files; None if the hub did not answer.
        size: bytes of all files; None if unknown.
        cached: bytes of the files that are in the cache.
        error: reason why the hub did not answer; empty if it did.
    """

    download: Download
    num_files: int | None
    size: int | None
    cached: int
    error: str = ""

    @property
    def remaining(self) -> int:
        """Bytes that are not in the cache."""
        return max(0, (self.size or 0) - self.cached)

    @property
    def known(self) -> KnownRepo | None:
        """Entry of the repository in `KNOWN_REPOS`; None if it has none."""
        return KNOWN_REPOS.get(self.download.repo)


def downloads_of(config: Any) -> Iterator[Download]:
    """Yield the downloads that the classes in a configuration declare."""
    if not isinstance(config, dict):
        return
    if isinstance(path := config.get("class_path"), str):
        downloads = getattr(import_class(path), "downloads", None)
        if downloads is not None:
            yield from downloads(**(config.get("init_args") or {}))
    for value in config.values():
        yield from downloads_of(value)


def measure_download(download: Download, hub: Hub) -> DownloadSize:
    """Return the size of a download, from the hub, and its cached bytes."""
    cached = cached_files(download)
    try:
        info = hub.repo_info(
            download.repo,
            revision=download.revision,
            repo_type=download.kind,
            timeout=HUB_TIMEOUT,
            files_metadata=True,
        )
    except Exception as error:  # errors of network, hub and offline mode share no base class
        known = KNOWN_REPOS.get(download.repo)
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        return DownloadSize(download, None, known and known.size, sum(cached.values()), reason)
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or [] if _matches(one.rfilename, download)}
    return DownloadSize(download, len(sizes), sum(sizes.values()), sum(sizes[name] for name in sizes if name in cached))


def cached_files(download: Download) -> dict[str, int]:
    """Return the names and bytes of the files of a download that are in the hub's cache, at its revision."""
    try:
        snapshot = snapshot_download(
            download.repo, repo_type=download.kind, revision=download.revision, local_files_only=True
        )
    except (OSError, ValueError):  # nothing of this revision is in the cache
        return {}
    files = {path.relative_to(snapshot).as_posix(): path for path in Path(snapshot).rglob("*") if path.is_file()}
    return {name: path.stat().st_size for name, path in files.items() if _matches(name, download)}


def _matches(name: str, download: Download) -> bool:
    return any(fnmatch(name, pattern) for pattern in download.patterns)
