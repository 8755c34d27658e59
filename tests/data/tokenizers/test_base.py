import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.plugins import plugins
from tests.support.texts import LETTERS, LINES, STRANGE, fitted, sentences, special_ids
from uddm_lightning.data import BPETokenizer, CharacterTokenizer, PretrainedTokenizer, Tokenizer, WordPieceTokenizer
from uddm_lightning.data.tokenizers import base
from uddm_lightning.data.tokenizers.losses import TokenizationLosses

# The contract, for every tokenizer.


@pytest.fixture(params=["letters", "characters", "bpe", "wordpiece", "file", "vocabulary"])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path, vocabulary: str) -> Tokenizer:
    if request.param == "file":
        path = tmp_path / "tokenizer.json"
        path.write_text(fitted(BPETokenizer(300)).to_json(), encoding="utf-8")
        return PretrainedTokenizer(str(path))
    makers: dict[str, Callable[[], Tokenizer]] = {
        "letters": lambda: CharacterTokenizer(LETTERS, lowercase=True),
        "characters": CharacterTokenizer,
        "bpe": lambda: BPETokenizer(300),
        "wordpiece": lambda: WordPieceTokenizer(300),
        "vocabulary": lambda: PretrainedTokenizer(vocabulary),
    }
    return fitted(makers[request.param]())


def test_ids_are_below_the_vocabulary_and_text_makes_no_special_id(tokenizer: Tokenizer) -> None:
    spelled = ["[SEP]", "a [SEP] b", "[CLS][PAD]", "<unk> <s> </s> <|endoftext|>"]
    ids = [number for line in tokenizer.encode(LINES + spelled) for number in line]
    assert ids
    assert min(ids) >= 0
    assert max(ids) < tokenizer.vocab_size
    assert not special_ids(tokenizer) & set(ids)
    assert sorted(tokenizer.backend.get_vocab().values()) == list(range(tokenizer.vocab_size))


def test_json_round_trip(tokenizer: Tokenizer) -> None:
    before = tokenizer.encode(LINES)
    text = tokenizer.to_json()
    tokenizer.from_json(text)
    assert tokenizer.encode(LINES) == before
    assert tokenizer.to_json() == text


def test_a_line_is_encoded_by_itself(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    together = tokenizer.encode(LINES[:20])
    monkeypatch.setattr(base, "BATCH_CHARACTERS", 50)
    assert tokenizer.encode(LINES[:20]) == together
    assert [tokenizer.encode([line])[0] for line in LINES[:20]] == together
    assert tokenizer.encode([]) == []


def test_spec_is_plain_data_and_names_the_class(tokenizer: Tokenizer) -> None:
    assert json.loads(json.dumps(tokenizer.spec())) == tokenizer.spec()
    assert tokenizer.spec()["class_path"].endswith(type(tokenizer).__name__)


def test_decode_token(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode(["the state"])
    assert "".join(tokenizer.decode_token(number) for number in ids).replace(" ", "") == "thestate"
    assert tokenizer.decode_token(tokenizer.vocab_size) == "▢", "a mask is no id of the vocabulary"


# Characters.


# Learned tokenizers.


# Tokenizers from a file.


def fitted_file(folder: Path) -> PretrainedTokenizer:
    made = BPETokenizer(300)
    made.fit(sentences(20))
    (folder / "tokenizer.json").write_text(made.to_json(), encoding="utf-8")
    return PretrainedTokenizer(str(folder / "tokenizer.json"))


TOKENIZERS: dict[type, Callable[[Path], Tokenizer]] = {
    CharacterTokenizer: lambda folder: CharacterTokenizer(LETTERS, lowercase=True),
    BPETokenizer: lambda folder: BPETokenizer(280),
    WordPieceTokenizer: lambda folder: WordPieceTokenizer(200),
    PretrainedTokenizer: fitted_file,
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_encodes_any_text_without_special_ids_and_counts_losses(tmp_path: Path, kind: type) -> None:
    tokenizer = TOKENIZERS[kind](tmp_path)
    tokenizer.fit(sentences(20))
    special = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id} - {None}
    lines = [STRANGE, *sentences(5)]
    encoded = tokenizer.encode(lines)
    assert [tokenizer.encode([line])[0] for line in lines] == encoded
    assert not special & {number for ids in encoded for number in ids}
    losses = TokenizationLosses()
    tokenizer.count_losses(lines, encoded, losses)
    assert losses.characters == sum(not sign.isspace() for line in lines for sign in line)
    lossless = isinstance(tokenizer, BPETokenizer | PretrainedTokenizer)
    assert bool(losses.dropped or losses.unknown) != lossless
    assert losses.dropped.total() + losses.unknown.total() <= losses.characters
    assert json.loads(json.dumps(losses.to_dict())) == losses.to_dict()
    assert re.search(r"`data\.tokenizer`", tokenizer.lossy_key)
    tokenizer.check_unchanged()


def test_every_tokenizer_is_tested() -> None:
    assert set(plugins(Tokenizer)) == set(TOKENIZERS)
