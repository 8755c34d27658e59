"""Tokens side by side read as text."""

import pytest

from uddm_lightning.core.token_texts import readable, without_special


def read(tokens):
    shown = readable(tokens)
    assert shown.keys() == set(tokens)
    return "".join(shown[token] for token in tokens)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (
            ["[CLS]", "the", "constitution", "##al", ",", "old", "law", ".", "[SEP]"],
            " · the constitutional, old law. ·",
        ),
        (["<|endoftext|>", "The", " law", " of", " the", " land"], "·The law of the land"),
        (list("a b##c"), "a b##c"),
        (["a", "[PAD]"], "a·"),
        (["war", "[UNK]"], " war [UNK]"),
        (["#", "##", "war"], " # ## war"),
        ([], ""),
    ],
)
def test_tokens_read_as_text(tokens, text):
    assert read(tokens) == text


def test_texts_have_no_special_tokens():
    assert without_special("<s>one</s>") == "one"
    assert without_special("[CLS] one [SEP] [SEP] two [SEP] [PAD] [PAD]") == "one \N{MIDDLE DOT} two"
    assert without_special(" as it is ") == " as it is "
    assert without_special("[UNK] [MASK]") == "[UNK] [MASK]"
    assert without_special("[CLS]") == ""
