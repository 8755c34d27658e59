"""CharacterTokenizer with given and learned alphabets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import LETTERS, special_ids
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, Tokenizer


def test_an_alphabet_of_letters_and_space_has_27_ids_in_order() -> None:
    tokenizer = CharacterTokenizer(LETTERS, lowercase=True)
    assert tokenizer.vocab_size == 27
    assert tokenizer.encode(["abz "]) == [[0, 1, 25]]
    assert tokenizer.joiner_ids == [26]
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
    assert genome.joiner_ids == []
    french = CharacterTokenizer("aé ", lowercase=True)
    assert french.decode(french.encode(["É e\u0301 à a"])[0]) == "é é a"
    korean = CharacterTokenizer("나는가 ")  # a syllable decomposes like a letter with an accent
    assert korean.decode(korean.encode(["나는, 가"])[0]) == "나는 가"
    signs = CharacterTokenizer(r"]^\-[a ")
    assert signs.decode(signs.encode([r"a]b^\-["])[0]) == r"a] ^\-["


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_only_characters_of_the_alphabet_remain(text: str) -> None:
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
    assert tokenizer.joiner_ids == ([characters.index(" ")] if " " in characters else [])
    unknown = tokenizer.vocab_size - 1
    expected = [characters.index(c) if c in characters else unknown for c in other]
    assert tokenizer.encode([other]) == [expected]


MIXED = st.text(st.sampled_from("abzABZ.  \t\n\r\x0b\x0c\x1c\x1f\x7f\x85\u2028éÉİßﬁ\u0301漢𝄞"))


@given(MIXED, st.booleans(), st.sampled_from([None, "ba ", "ab", "a\tb ", "\nab\x1c", "aBb \x1f", "aé ", "é漢a", "𝄞."]))
@settings(max_examples=300, deadline=None)
def test_ids_equal_those_of_the_backend(text: str, lowercase: bool, alphabet: str | None) -> None:
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
    with pytest.raises(ValueError, match="`alphabet` must contain each character once, got 'b' twice"):
        CharacterTokenizer("abcb")
    with pytest.raises(ValueError, match="`alphabet` must be in lower case"):
        CharacterTokenizer("aB", lowercase=True)
    with pytest.raises(InputError, match=r"`data\.tokenizer`: CharacterTokenizer has a vocabulary of 1 id"):
        CharacterTokenizer("a")
    with pytest.raises(InputError, match="CharacterTokenizer found no character"):
        CharacterTokenizer().fit([])
