"""Contract tests of sources."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.plugins import plugins
from tests.support.texts import ListSource, poem
from uddm_lightning.data import (
    Detokenized,
    HubDataset,
    LM1BDetokenizer,
    MarkovSource,
    SotuSpeeches,
    Source,
    SpinPatterns,
    TextFiles,
)


def test_default_fingerprint_sees_texts_and_splits() -> None:
    variants = [["ab", "c"], ["a", "bc"], ["c", "ab"], [("ab", "train"), ("c", "test")], [("ab", "train"), ("c", None)]]
    prints = {ListSource(variant).fingerprint() for variant in variants}
    assert len(prints) == len(variants)
    assert ListSource(["ab", "c"]).fingerprint() in prints


SOURCES: dict[type, Callable[[Path], Source]] = {
    TextFiles: lambda folder: TextFiles(poem(folder)),
    HubDataset: lambda folder: HubDataset("text", data_files=poem(folder)),
    Detokenized: lambda folder: Detokenized(TextFiles(poem(folder)), LM1BDetokenizer()),
    MarkovSource: lambda folder: MarkovSource(num_documents=50),
    SotuSpeeches: lambda folder: SotuSpeeches(),
    SpinPatterns: lambda folder: SpinPatterns(num_documents=50),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_repeats_its_text_without_forbidden_characters(
    tmp_path: Path, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    source = SOURCES[kind](tmp_path)
    documents = list(source.documents())
    assert documents == list(source.documents())
    assert source.fingerprint() == source.fingerprint() == SOURCES[kind](tmp_path).fingerprint()
    assert all("\0" not in one.text for one in documents)
    assert all(one.text.strip() for one in documents)


def test_every_source_is_tested() -> None:
    assert set(plugins(Source)) == set(SOURCES)
