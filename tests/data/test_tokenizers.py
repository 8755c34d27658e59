import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import LETTERS, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import BPETokenizer, CharacterTokenizer, PretrainedTokenizer, Tokenizer, WordPieceTokenizer
from uddm_lightning.data.tokenizers import base

LINES = [f"{line}, said [SEP] the Père." for line in sentences(200)]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "sep", "the", "state", "##s", "of"]


def fitted(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.fit(LINES)
    return tokenizer


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY), encoding="utf-8")
    return str(path)


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


def special_ids(tokenizer: Tokenizer) -> set[int]:
    ids = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id}
    return {number for number in ids if number is not None}


def test_ids_are_below_the_vocabulary_and_text_makes_no_special_id(tokenizer: Tokenizer) -> None:
    spelled = ["[SEP]", "a [SEP] b", "[CLS][PAD]", "<unk> <s> </s> <|endoftext|>"]
    ids = [number for line in tokenizer.encode(LINES + spelled) for number in line]
    assert ids
    assert min(ids) >= 0
    assert max(ids) < tokenizer.vocab_size
    assert not special_ids(tokenizer) & set(ids)
    assert sorted(tokenizer.backend.get_vocab().values()) == list(range(tokenizer.vocab_size))


def test_json_keeps_everything(tokenizer: Tokenizer) -> None:
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


def test_pieces_show_single_ids(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode(["the state"])
    assert "".join(tokenizer.piece(number) for number in ids).replace(" ", "") == "thestate"
    assert tokenizer.piece(tokenizer.vocab_size) == "▢", "a mask is no id of the vocabulary"


# Characters.


def test_letters_have_27_ids_in_the_order_given() -> None:
    tokenizer = CharacterTokenizer(LETTERS, lowercase=True)
    assert tokenizer.vocab_size == 27
    assert tokenizer.encode(["abz "]) == [[0, 1, 25]]
    assert tokenizer.joiner == [26]
    assert special_ids(tokenizer) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Crème Brûlée — 1,50 €!", "creme brulee"),
        ("a--b  c\td", "a b c d"),
        ("ﬁve ²", "five"),
        ("… ", ""),
        ("Ωmega\u0301x", "megax"),
    ],
)
def test_other_characters_become_one_space(text: str, expected: str) -> None:
    tokenizer = CharacterTokenizer(LETTERS, lowercase=True)
    assert tokenizer.decode(tokenizer.encode([text])[0]) == expected


def test_alphabets_without_space_with_capitals_with_accents_and_with_signs() -> None:
    genome = CharacterTokenizer("ACGT")
    assert genome.encode(["AC-G t\tT"]) == [[0, 1, 2, 3]]
    assert genome.joiner == []
    french = CharacterTokenizer("aé ", lowercase=True)
    assert french.decode(french.encode(["É e\u0301 à a"])[0]) == "é é a"
    signs = CharacterTokenizer(r"]^\-[a ")
    assert signs.decode(signs.encode([r"a]b^\-["])[0]) == r"a] ^\-["


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_letters_survive_and_nothing_else_does(text: str) -> None:
    tokenizer = CharacterTokenizer(LETTERS)
    found = tokenizer.decode(tokenizer.encode([text])[0])
    assert set(found) <= set(LETTERS)
    assert "  " not in found
    assert found == found.strip()
    if text.isascii():
        only = "".join(character if character in LETTERS else " " for character in text)
        assert found == " ".join(only.split())


@given(st.lists(st.text(alphabet="abcé ß\u0301\t<unk>𝄞", min_size=1), min_size=1), st.text(max_size=5))
@settings(max_examples=100, deadline=None)
def test_learned_characters_round_trip(lines: list[str], other: str) -> None:
    tokenizer = CharacterTokenizer()
    tokenizer.fit(lines)
    characters = sorted(set("".join(lines)))
    assert tokenizer.vocab_size == len(characters) + 1
    for line, ids in zip(lines, tokenizer.encode(lines), strict=True):
        assert [characters[number] for number in ids] == list(line)
        assert tokenizer.decode(ids) == line
    assert tokenizer.joiner == ([characters.index(" ")] if " " in characters else [])
    unknown = tokenizer.vocab_size - 1
    expected = [characters.index(c) if c in characters else unknown for c in other]
    assert tokenizer.encode([other]) == [expected]


MIXED = st.text(st.sampled_from("abzABZ.  \t\n\r\x0b\x0c\x1c\x1f\x7f\x85\u2028éÉİßﬁ\u0301漢𝄞"))


@given(MIXED, st.booleans(), st.sampled_from([None, "ba ", "ab", "a\tb ", "\nab\x1c", "aBb \x1f", "aé ", "é漢a", "𝄞."]))
@settings(max_examples=1000, deadline=None)
def test_characters_have_the_ids_that_the_library_gives(text: str, lowercase: bool, alphabet: str | None) -> None:
    lowercase = lowercase and (alphabet is None or alphabet == alphabet.lower())
    tokenizer = CharacterTokenizer(alphabet, lowercase)
    tokenizer.fit(["ab é", "𝄞B"])
    assert tokenizer.encode([text]) == Tokenizer.encode(tokenizer, [text])


def test_learned_lower_case() -> None:
    tokenizer = CharacterTokenizer(lowercase=True)
    tokenizer.fit(["AbBa"])
    assert tokenizer.vocab_size == 3
    assert tokenizer.encode(["BAba"]) == [[1, 0, 1, 0]]


def test_bad_alphabets() -> None:
    with pytest.raises(ValueError, match="`alphabet` must name each character once, got 'b' twice"):
        CharacterTokenizer("abcb")
    with pytest.raises(ValueError, match="`alphabet` must be in lower case"):
        CharacterTokenizer("aB", lowercase=True)
    with pytest.raises(InputError, match=r"`data\.tokenizer`: CharacterTokenizer has a vocabulary of 1 id"):
        CharacterTokenizer("a")
    with pytest.raises(InputError, match="CharacterTokenizer found no character"):
        CharacterTokenizer().fit([])


# Learned ones.


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=100, deadline=None)
def test_byte_pairs_lose_nothing(text: str) -> None:
    assert BYTE_PAIRS.decode(BYTE_PAIRS.encode([text])[0]) == text


BYTE_PAIRS = fitted(BPETokenizer(280))


def test_special_tokens_of_the_learned() -> None:
    for tokenizer in (BYTE_PAIRS, fitted(WordPieceTokenizer(200))):
        assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id) == (0, 2, 3, 3)
        assert tokenizer.decode([2, 3]) == "[CLS] [SEP]" or tokenizer.decode([2, 3]) == "[CLS][SEP]"
        assert tokenizer.joiner == []


def test_sizes_of_the_learned() -> None:
    assert BYTE_PAIRS.vocab_size == 280
    assert fitted(WordPieceTokenizer(150)).vocab_size == 150
    with pytest.raises(ValueError, match="`vocab_size` must be at least 260, got 259"):
        BPETokenizer(259)
    with pytest.raises(ValueError, match="`vocab_size` must be at least 5, got 4"):
        WordPieceTokenizer(4)


def test_case_of_the_learned() -> None:
    assert BPETokenizer(280, lowercase=True).spec()["init_args"] == {"lowercase": True, "vocab_size": 280}
    for lower in (fitted(BPETokenizer(280, lowercase=True)), fitted(WordPieceTokenizer(200))):
        assert lower.encode(["THE PERE"]) == lower.encode(["the pere"])
    for cased in (BYTE_PAIRS, fitted(WordPieceTokenizer(200, lowercase=False))):
        assert cased.encode(["Père"]) != cased.encode(["père"])


@pytest.mark.parametrize("kind", [BPETokenizer, WordPieceTokenizer])
def test_learning_is_deterministic(kind: type[BPETokenizer] | type[WordPieceTokenizer]) -> None:
    # the library's hash tables are seeded anew for each training
    assert len({fitted(kind(300)).to_json() for _ in range(4)}) == 1


def test_an_unfitted_tokenizer_says_so() -> None:
    with pytest.raises(RuntimeError, match="BPETokenizer has no vocabulary yet"):
        BPETokenizer().encode(["a"])


# Given ones.


def test_vocabulary_of_bert(vocabulary: str) -> None:
    tokenizer = PretrainedTokenizer(vocabulary)
    tokenizer.fit(["ignored"])
    assert tokenizer.vocab_size == len(VOCABULARY)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id) == (2, 3, 3, 0)
    assert tokenizer.encode(["Thé States[SEP] nothing"]) == [[8, 9, 10, 5, 7, 6, 1]]
    assert tokenizer.decode([2, 8, 9, 10, 3]) == "[CLS] the states [SEP]"


def test_names_of_special_tokens(tmp_path: Path, vocabulary: str) -> None:
    named = PretrainedTokenizer(vocabulary, bos="[MASK]", separator="")
    assert (named.bos_id, named.eos_id, named.separator_id) == (4, 3, None)
    with pytest.raises(InputError, match=r"`eos` is '</s>', which is no token of `.*vocab\.txt`; name one"):
        PretrainedTokenizer(vocabulary, eos="</s>")

    path = tmp_path / "tokenizer.json"
    for names, expected in (
        (["<s>", "</s>", "<pad>"], ["<s>", "</s>", "</s>", "<pad>"]),
        (["<|endoftext|>"], ["<|endoftext|>"] * 4),
        ([], [None] * 4),
    ):
        backend = CharacterTokenizer(LETTERS).backend
        backend.add_special_tokens(list(names))
        backend.enable_truncation(2)
        backend.enable_padding()
        path.write_text(backend.to_str(), encoding="utf-8")
        tokenizer = PretrainedTokenizer(str(path))
        ids = [tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id]
        assert [None if number is None else tokenizer.piece(number) for number in ids] == expected
        assert tokenizer.vocab_size == 27 + len(names)
        assert [len(ids) for ids in tokenizer.encode(["a", "abc"])] == [1, 3], "neither cut nor padded"


def test_spec_of_a_file_follows_its_content(tmp_path: Path) -> None:
    path, copy = tmp_path / "one.json", tmp_path / "two.json"
    path.write_text(CharacterTokenizer("ab").to_json(), encoding="utf-8")
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    before = PretrainedTokenizer(str(path)).spec()
    assert PretrainedTokenizer(str(copy)).spec() == before
    path.write_text(CharacterTokenizer("ba").to_json(), encoding="utf-8")
    assert PretrainedTokenizer(str(path)).spec() != before


def test_bad_files(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.json", b"{}", r"a\.json` cannot be loaded \(.*check the file"),
        ("vocab.txt", b"one\ntwo", r"vocab\.txt` is no vocabulary of BERT: it lacks \[UNK\]"),
        ("vocab.txt", b"\xff", r"vocab\.txt` cannot be loaded"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            PretrainedTokenizer(str(tmp_path / name))
    with pytest.raises(InputError, match=r"Tokenizer file `.*no\.json` does not exist"):
        PretrainedTokenizer(str(tmp_path / "no.json"))
    with pytest.raises(InputError, match=r"Tokenizer `no/such` cannot be loaded .*check the name and the network"):
        PretrainedTokenizer("no/such")
