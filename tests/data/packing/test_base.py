from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tests.support.packing import BOS, EOS, SEP, Marks
from tests.support.plugins import plugins
from tests.support.texts import STRANGE
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import DocumentPacking, Packing, WrappedPacking
from uddm_lightning.data.newlines import split_lines


def test_special_positions_come_from_the_packing_not_from_ids() -> None:
    tokenizer = Marks("begin, end, separator")
    text = [[[SEP, 1], [BOS, EOS]]]
    for packing in (WrappedPacking(7), DocumentPacking(7)):
        (block,) = packing.pack(text, tokenizer)
        assert block.tokens_NL.tolist() == [[BOS, SEP, 1, SEP, BOS, EOS, EOS]]
        assert block.special_NL is not None
        assert block.special_NL.tolist() == [[True, False, False, True, False, False, True]]


def test_add_special_tokens_to_full_rows() -> None:
    rows = np.arange(8).reshape(2, 4)
    block = WrappedPacking(6).add_special_tokens(rows, rows < 0, Marks("begin, end, separator"))
    assert block.tokens_NL.tolist() == [[BOS, 0, 1, 2, 3, EOS], [BOS, 4, 5, 6, 7, EOS]]
    assert block.lengths_N is None


def test_lengths_without_positions_for_text() -> None:
    for packing in (WrappedPacking, DocumentPacking):
        with pytest.raises(ValueError, match="`length` must be at least 2, got 1"):
            packing(1)
        with pytest.raises(
            InputError, match=r"`data\.packing\.length` is 2, but the begin and end tokens .* choose at least 3"
        ):
            list(packing(2).pack([[[1]]], Marks("begin, end")))


def test_spec_names_class_and_length() -> None:
    specs = [WrappedPacking(8).spec(), WrappedPacking(9).spec(), DocumentPacking(8).spec()]
    assert specs[0]["init_args"] == {"length": 8, "sentence": "line"}
    assert all(one != other for one, other in pairwise(specs))


PACKINGS: dict[type, Callable[[], Packing]] = {
    WrappedPacking: lambda: WrappedPacking(12),
    DocumentPacking: lambda: DocumentPacking(12),
}


@pytest.mark.parametrize("kind", PACKINGS)
def test_sentences_are_non_empty_lines(kind: type) -> None:
    text = f"one\n{STRANGE}\r\ntwo\r \nthree"
    assert PACKINGS[kind]().sentences(text) == [line for line in split_lines(text) if line.strip()]
    assert STRANGE in PACKINGS[kind]().sentences(text)


def test_every_packing_is_tested() -> None:
    assert set(plugins(Packing)) == set(PACKINGS)
