"""Alphabets and vocabularies for texts of several kinds."""

import unicodedata
from collections import Counter

import pytest

from uddm_lightning.data import BPETokenizer, CharacterTokenizer
from uddm_lightning.data.text_survey import TextSurvey
from uddm_lightning.sweeps.text_tokens import LARGEST_ALPHABET, choose_tokens

ENGLISH = "It was the best of times, it was the worst of times; the age of wisdom. " * 300 + "naïve 1859"
RUSSIAN = "Ночь, улица, фонарь, аптека. Бессмысленный и тусклый свет, ещё живой. " * 5
FRENCH = "L'été où elle leva sa tête, ça gênait le garçon près du château. " * 5
CHINESE = "道可道、非常道。名可名、非常名。无名天地之始、有名万物之母。" * 20
KOREAN = "나는 학교에 간다. 그리고 집에 온다. " * 5
HINDI = "मैं स्कूल जाता हूँ और घर आता हूँ " * 5
THAI = "ฉันไปโรงเรียนทุกวัน" * 5
CODE = "def f(x):\n    return [x[i] + 1 for i in range(10)]  # Sum\n" * 5
DIGITS = "3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 " * 5


def survey(text: str) -> TextSurvey:
    counts = Counter(unicodedata.normalize("NFC", text.replace("\n", "")))
    return TextSurvey(1, 1, text.count("\n") + 1, counts, is_whole=True)


def letters(text: str) -> str:
    return "".join(sorted({character for character in text.lower() if character.isalpha()}))


@pytest.mark.parametrize(
    ("text", "alphabet", "lowercase"),
    [
        pytest.param(ENGLISH, "abdefghimorstw ", True, id="english"),
        pytest.param(RUSSIAN, letters(RUSSIAN) + " ", True, id="russian"),
        pytest.param(FRENCH, letters(FRENCH) + " ", True, id="french"),
        pytest.param(CHINESE, "".join(sorted(set(CHINESE))), True, id="chinese"),
        pytest.param(KOREAN, letters(KOREAN) + " ", True, id="korean"),
        pytest.param(CODE, "".join(sorted(set(CODE) - set("\n "))) + " ", False, id="code"),
        pytest.param(DIGITS, "123456789 ", False, id="digits"),
    ],
)
def test_a_text_keeps_its_own_characters(text, alphabet, lowercase):
    arguments = choose_tokens(survey(text)).spec["init_args"]
    assert arguments == {"alphabet": alphabet, "lowercase": lowercase}


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, FRENCH, CHINESE, KOREAN, HINDI, THAI, CODE, DIGITS])
def test_the_tokenizer_reads_the_text_and_the_number_of_tokens_is_estimated(text):
    found = choose_tokens(survey(text))
    tokenizer = CharacterTokenizer(**found.spec["init_args"])
    lines = text.split("\n")
    tokenizer.fit(lines)
    ids = sum(map(len, tokenizer.encode(lines)))
    assert 0.8 * ids <= found.length <= 1.35 * ids  # punctuation between spaces and runs of spaces are not counted
    assert tokenizer.vocab_size <= found.vocab_size


@pytest.mark.parametrize("text", [HINDI, THAI])
def test_combining_marks_are_kept(text):
    found = choose_tokens(survey(text))
    assert found.spec["init_args"]["alphabet"] is None
    assert "combining marks" in found.reason
    tokenizer = CharacterTokenizer(**found.spec["init_args"])
    tokenizer.fit([text])
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_the_share_of_dropped_characters_is_reported():
    found = choose_tokens(survey("abcdefg hi, jk. lm: " * 10))  # 3 of 16 characters
    assert "19 % of the characters are dropped, such as , . :" in found.reason
    assert "no character is dropped" in choose_tokens(survey("only letters here " * 5)).reason


def test_very_many_characters_become_byte_pairs():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + LARGEST_ALPHABET + 100))) * 2
    found = choose_tokens(survey(text))
    assert found.spec["class_path"] == "BPETokenizer"
    assert "3,085 characters" in found.reason  # 99.5 % of 3,100
    tokenizer = BPETokenizer(**found.spec["init_args"])
    tokenizer.fit([text])
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text
