"""Split of the documents into training and held-out documents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import ListSource, sentences
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.split import TEST, TRAIN, split_documents

# zeros are refused
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)


def test_the_held_out_fraction_is_close_to_test_fraction() -> None:
    sides = split_documents(ListSource([str(number) for number in range(5000)]), 0.2)
    assert 0.17 < (sides == TEST).mean() < 0.23


@given(st.lists(TEXT, min_size=12, max_size=40), st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_copies_of_a_document_are_in_one_split(texts: list[str], test_fraction: float) -> None:
    if len(set(texts)) < 2:
        return
    sides = split_documents(ListSource(texts), test_fraction)
    side_of: dict[str, int] = {}
    for text, side in zip(texts, sides.tolist(), strict=True):
        assert side_of.setdefault(text, side) == side
    assert set(side_of.values()) == {TRAIN, TEST}


def test_the_split_of_a_document_does_not_depend_on_other_documents() -> None:
    texts = sentences(300)
    every = dict(zip(texts, split_documents(ListSource(texts), 0.2).tolist(), strict=True))
    some = dict(zip(texts[::-2], split_documents(ListSource(texts[::-2]), 0.2).tolist(), strict=True))
    assert some == {text: every[text] for text in some}


def test_official_splits_are_used() -> None:
    texts = [(text, "test" if number % 3 else "train") for number, text in enumerate(sentences(30))]
    assert split_documents(ListSource(texts), 0.2).tolist() == [int(split == "test") for _, split in texts]
    mixed = [*texts, *((text, None) for text in sentences(50, seed=1))]
    assert split_documents(ListSource(mixed), 0.2)[:30].tolist() == [int(split == "test") for _, split in texts]


@pytest.mark.parametrize("test_fraction", [1e-6, 1 - 1e-6])
def test_two_documents_are_enough(test_fraction: float) -> None:
    assert sorted(split_documents(ListSource(["a", "b"]), test_fraction).tolist()) == [TRAIN, TEST]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "`data.source` has no documents"),
        (
            ["same", "same"],
            r"leaves no document to (train on|hold out): it needs at least two different documents",
        ),
        ([("a", "train"), ("b", "train")], "leaves no document to hold out"),
        ([("a", "test")], "leaves no document to train on"),
        ([("a", "valid")], "gives the split 'valid'; it must be train, test or None"),
        (["fine", "half \ud800"], r"an unpaired surrogate \('\\ud800'\) after 'half '; repair or remove it"),
    ],
)
def test_too_few_or_wrong_documents(texts: list[str | tuple[str, str | None]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_documents(ListSource(texts), 0.2)
