"""What every source, tokenizer and packing of the package holds to."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.texts import LETTERS, sentences
from uddm_lightning import data
from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Detokenized,
    DocumentPacking,
    HubDataset,
    LM1BDetokenizer,
    MarkovSource,
    Packing,
    PretrainedTokenizer,
    SotuSpeeches,
    Source,
    TextFiles,
    Tokenizer,
    WikiTextDetokenizer,
    WordPieceTokenizer,
    WrappedPacking,
)
from uddm_lightning.data.newlines import split_lines
from uddm_lightning.data.tokenizers.losses import Losses

STRANGE = (
    "[SEP] [CLS] [PAD] [UNK] <unk> </s> <|endoftext|> 漢字 👩\u200d👩\u200d👧 e\u0301\u2028\x0b\x1c\x85 ï\U0010ffff"
)


def kinds(base: type) -> set[type]:
    """All classes of this package's `data` that are of a kind, and can be made."""
    found = {one for one in vars(data).values() if isinstance(one, type) and issubclass(one, base)}
    return {one for one in found if not inspect.isabstract(one)}


def fitted(folder: Path) -> PretrainedTokenizer:
    made = BPETokenizer(300)
    made.fit(sentences(20))
    (folder / "tokenizer.json").write_text(made.to_json(), encoding="utf-8")
    return PretrainedTokenizer(str(folder / "tokenizer.json"))


def poem(folder: Path) -> str:
    (folder / "poem.txt").write_text("\n".join(sentences(30)), encoding="utf-8")
    return str(folder / "poem.txt")


TOKENIZERS: dict[type, Callable[[Path], Tokenizer]] = {
    CharacterTokenizer: lambda folder: CharacterTokenizer(LETTERS, lowercase=True),
    BPETokenizer: lambda folder: BPETokenizer(280),
    WordPieceTokenizer: lambda folder: WordPieceTokenizer(200),
    PretrainedTokenizer: fitted,
}
PACKINGS: dict[type, Callable[[], Packing]] = {
    WrappedPacking: lambda: WrappedPacking(12),
    DocumentPacking: lambda: DocumentPacking(12),
}
SOURCES: dict[type, Callable[[Path], Source]] = {
    TextFiles: lambda folder: TextFiles(poem(folder)),
    HubDataset: lambda folder: HubDataset("text", data_files=poem(folder)),
    Detokenized: lambda folder: Detokenized(TextFiles(poem(folder)), LM1BDetokenizer()),
    MarkovSource: lambda folder: MarkovSource(num_documents=50),
    SotuSpeeches: lambda folder: SotuSpeeches(),
}


def test_all_of_them_are_looked_at() -> None:
    assert kinds(Tokenizer) == set(TOKENIZERS)
    assert kinds(Packing) == set(PACKINGS)
    assert kinds(Source) == set(SOURCES)
    assert kinds(data.Detokenizer) == {LM1BDetokenizer, WikiTextDetokenizer}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_writes_any_text_without_special_ids_and_says_what_it_loses(tmp_path: Path, kind: type) -> None:
    tokenizer = TOKENIZERS[kind](tmp_path)
    tokenizer.fit(sentences(20))
    special = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id} - {None}
    lines = [STRANGE, *sentences(5)]
    encoded = tokenizer.encode(lines)
    assert [tokenizer.encode([line])[0] for line in lines] == encoded
    assert not special & {number for ids in encoded for number in ids}
    losses = Losses()
    tokenizer.count_lost(lines, encoded, losses)
    assert losses.characters == sum(not sign.isspace() for line in lines for sign in line)
    lossless = isinstance(tokenizer, BPETokenizer | PretrainedTokenizer)
    assert bool(losses.dropped or losses.unknown) != lossless
    assert losses.dropped.total() + losses.unknown.total() <= losses.characters
    assert json.loads(json.dumps(losses.meta())) == losses.meta()
    assert re.search(r"`data\.tokenizer`", tokenizer.blamed)
    tokenizer.check_unchanged()


@pytest.mark.parametrize("kind", PACKINGS)
def test_a_packing_takes_lines_for_sentences(kind: type) -> None:
    text = f"one\n{STRANGE}\r\ntwo\r \nthree"
    assert PACKINGS[kind]().sentences(text) == [line for line in split_lines(text) if line.strip()]
    assert STRANGE in PACKINGS[kind]().sentences(text)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_gives_the_same_text_again_and_none_of_what_is_refused(
    tmp_path: Path, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    source = SOURCES[kind](tmp_path)
    documents = list(source.documents())
    assert documents == list(source.documents())
    assert source.fingerprint() == source.fingerprint() == SOURCES[kind](tmp_path).fingerprint()
    assert all("\0" not in one.text for one in documents)
    assert all(one.text.strip() for one in documents)
