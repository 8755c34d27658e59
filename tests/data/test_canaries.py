from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.data.test_module import attached, module
from tests.support.texts import LETTERS
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import BPETokenizer, Canaries, CharacterTokenizer, DocumentPacking, TextFiles, WrappedPacking

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # few workers are intended


def rows_of(ids):
    return [tuple(row) for row in ids.tolist()]


def test_each_canary_stands_as_often_as_stated_beside_the_rows_of_the_subset(text_file: Path) -> None:
    plain, planted = module(text_file), module(text_file, canaries=[0, 1, 3])
    canaries = Canaries([0, 1, 3], planted.packing, planted.tokenizer, planted.seed)
    own = rows_of(canaries.tokens(torch.arange(3)))
    rows = rows_of(planted.training_rows())
    assert rows[:20] == rows_of(plain.training_rows())
    assert Counter(rows[20:]) == {own[1]: 1, own[2]: 3}
    # one epoch of the stream reads every row once
    batches = islice(attached(planted, global_step=0).train_dataloader(), 2)
    read = Counter(row for batch in batches for row in rows_of(batch.tokens_BL))
    assert read == Counter(rows)


def test_subsets_stay_nested_and_held_out_rows_stay_the_same(text_file: Path) -> None:
    small, large = (module(text_file, train_size=n, canaries=[2, 1]) for n in (5, 20))
    assert rows_of(small.training_rows())[:5] == rows_of(large.training_rows())[:5]
    assert rows_of(small.training_rows())[5:] == rows_of(large.training_rows())[20:]
    plain = module(text_file)
    assert plain.subset.hash() == large.subset.hash()
    for mine, theirs in zip(attached(large).val_dataloader(), attached(plain).val_dataloader(), strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one.tokens_BL, other.tokens_BL)


def test_the_manifest_records_what_is_planted(text_file: Path) -> None:
    assert "canaries" not in module(text_file).manifest()
    one, same, other = (module(text_file, canaries=[4], seed=seed).manifest()["canaries"] for seed in (1, 1, 2))
    assert (one["repetitions"], one["seed"]) == ([4], 1)
    assert one == same
    assert one["hash"] != other["hash"]


def test_canaries_are_uniform_and_differ() -> None:
    canaries = Canaries([1], WrappedPacking(8), CharacterTokenizer(LETTERS), seed=0)
    rows_BL = canaries.tokens(torch.arange(4000))
    assert len(set(rows_of(rows_BL))) == 4000
    counts = torch.bincount(rows_BL.flatten(), minlength=len(LETTERS)).double()
    assert float(((counts / counts.sum()) * len(LETTERS) - 1).abs().max()) < 0.1


def test_canaries_have_begin_and_end_tokens_and_no_padding(text_file: Path) -> None:
    options = {
        "train_size": 5,
        "tokenizer": BPETokenizer(300),
        "packing": DocumentPacking(40),
        "source": TextFiles(str(text_file), document="line"),
    }
    data = module(text_file, **options, canaries=[2])
    rows, subset = data._trained()
    ids = subset.rows(torch.arange(len(subset)))
    special_BL, valid_BL, tokens_BL = rows.special(ids), rows.valid(ids), rows.tokens(ids)
    assert special_BL is not None
    assert valid_BL is not None
    assert not bool(valid_BL[:5].all())
    assert bool(valid_BL[5:].all())
    assert special_BL[5:, [0, -1]].all()
    assert not special_BL[5:, 1:-1].any()
    assert tokens_BL[5:, 0].tolist() == [data.tokenizer.bos_id] * 2
    assert torch.equal(special_BL[:5], data.corpus.train.special(ids[:5]))


@pytest.mark.parametrize("wrong", [[-1], [1, True], [0.5]])
def test_wrong_repetitions_are_refused(text_file: Path, wrong: list[int]) -> None:
    with pytest.raises(InputError, match=r"`data.canaries` must be a list of repetitions of at least 0"):
        module(text_file, canaries=wrong)
