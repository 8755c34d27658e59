"""Caches whose files were deleted, copied or changed in place."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, Corpus, DocumentPacking, WrappedPacking, checksums, prepare_corpus


def made(padded: bool = False) -> Corpus:
    packing = DocumentPacking(40) if padded else WrappedPacking(8)
    return prepare_corpus(ListSource(sentences(40)), CharacterTokenizer(LETTERS), packing, 0.2)


def folder_in(tmp_path: Path) -> Path:
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != checksums.NAME}


def flip(path: Path) -> None:
    """Change a byte in the middle and the modification time, whose resolution may be milliseconds."""
    time.sleep(0.02)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    ["meta.json", "tokenizer.json", "unigram.npy", "train.bin", "test.bin", "train_lengths.bin", "checksums.json"],
)
def test_bytes_changed_in_place_are_detected(tmp_path: Path, name: str) -> None:
    before = made(padded=True).hash
    folder = folder_in(tmp_path)
    whole = contents(folder)
    assert name in {*whole, checksums.NAME}
    flip(folder / name)
    assert made(padded=True).hash == before
    assert contents(folder) == whole, "built again"


def test_an_unchanged_cache_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made().hash
    monkeypatch.setattr(checksums, "file_hash", lambda path: pytest.fail("no file needs to be hashed"))
    assert made().hash == before


def test_a_copied_cache_is_hashed_once_and_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made().hash
    folder = folder_in(tmp_path)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    monkeypatch.setattr("uddm_lightning.data.corpus.build_corpus", lambda *_: pytest.fail("it is intact"))

    def refuse(*_: object) -> None:
        raise InputError("read-only")

    with monkeypatch.context() as read_only:
        read_only.setattr(checksums, "write_text", refuse)
        assert made().hash == before
    assert made().hash == before
    monkeypatch.setattr(checksums, "file_hash", lambda path: pytest.fail("the checksums were updated"))
    assert made().hash == before


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"meta.json": 3}', '{"meta.json": [1, 2]}', '{"gone": [1,2,3]}']
)
def test_a_cache_without_checksums_is_built_again(tmp_path: Path, content: str | None) -> None:
    before = made().hash
    path = folder_in(tmp_path) / checksums.NAME
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    assert made().hash == before
    assert {"meta.json", "train.bin"} <= json.loads(path.read_text(encoding="utf-8")).keys()


@pytest.mark.parametrize("padded", [False, True])
def test_an_open_corpus_outlives_its_files(tmp_path: Path, padded: bool) -> None:
    corpus = made(padded)
    shutil.rmtree(folder_in(tmp_path))
    for rows in (corpus.train, corpus.test):
        ids = torch.arange(len(rows))
        assert rows.tokens(ids).shape == (len(rows), rows.length)
        assert (rows.valid(ids) is not None) == padded
    again = made(padded)
    assert again.hash == corpus.hash, "and is built again with the same contents"
    assert torch.equal(again.train.tokens(torch.arange(3)), corpus.train.tokens(torch.arange(3)))
