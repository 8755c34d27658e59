import numpy as np
import pytest
import torch

from tests.audit.conftest import V, drawn
from uddm_lightning.audit.blind import blind_scores, document_folds, ngram_nll
from uddm_lightning.audit.roc import separation
from uddm_lightning.core.markov_chain import MarkovChain


def auc_of(tokens_NL, counted_NL, member, documents):
    folds = document_folds(member, documents)
    return separation(blind_scores(tokens_NL, counted_NL, V, member, folds), member, documents).auc


def test_texts_of_one_distribution_are_not_told_apart():
    rows, member = drawn(0, 2000), np.arange(2000) % 2 == 0
    auc = auc_of(rows.tokens_NL, rows.counted_NL, member, np.arange(2000))
    assert abs(auc.value - 0.5) < 0.03
    assert auc.low < 0.5 < auc.high


def test_the_mean_over_splits_without_a_difference_is_a_half():
    values = []
    for seed in range(30):
        rows = drawn(1000 * seed, 100)
        member = np.random.default_rng(seed).random(100) < 0.4
        values.append(auc_of(rows.tokens_NL, rows.counted_NL, member, np.arange(100) // 4).value)
    assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(30) + 0.005


def test_another_distribution_is_found():
    other = MarkovChain.random(V, sharpness=1.5, seed=9)
    tokens_NL = torch.cat([drawn(0, 100).tokens_NL, drawn(0, 100, chain=other).tokens_NL])
    member = np.arange(200) < 100
    assert auc_of(tokens_NL, torch.ones_like(tokens_NL).bool(), member, np.arange(200)).low > 0.8


def test_lengths_alone_are_found():
    tokens_NL = drawn(0, 200).tokens_NL
    member = np.arange(200) < 100
    lengths_N = torch.from_numpy(np.where(member, 5, 9))
    counted_NL = torch.arange(tokens_NL.shape[1]) < lengths_N[:, None]
    assert auc_of(tokens_NL, counted_NL, member, np.arange(200)).low > 0.9


def test_a_text_that_repeats_within_documents_is_tested_on_other_documents():
    # each document repeats one row, which a classifier would recognize if its document were in the fit
    rows, documents = drawn(0, 40), np.repeat(np.arange(40), 5)
    tokens_NL = rows.tokens_NL.repeat_interleave(5, 0)
    counted_NL = torch.ones_like(tokens_NL).bool()
    member = documents % 2 == 0
    assert auc_of(tokens_NL, counted_NL, member, documents).low < 0.5
    assert auc_of(tokens_NL, counted_NL, member, np.arange(200)).low > 0.7


def test_positions_that_do_not_count_do_not_matter():
    rows, member, documents = drawn(0, 60), np.arange(60) < 30, np.arange(60)
    counted_NL = rows.counted_NL.clone()
    counted_NL[:, [0, 7]] = False
    changed_NL = rows.tokens_NL.clone()
    changed_NL[:, [0, 7]] = 3
    folds = document_folds(member, documents)
    for measure in (
        lambda tokens: blind_scores(tokens, counted_NL, V, member, folds),
        lambda tokens: ngram_nll(tokens, counted_NL, V, folds),
    ):
        assert np.array_equal(measure(rows.tokens_NL), measure(changed_NL))


def test_folds_hold_whole_documents_and_both_groups():
    documents = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 6])
    member = np.array([1, 0, 1, 0, 1, 1, 0, 0, 0, 0]) > 0
    folds = document_folds(member, documents)
    assert all(len(set(folds[documents == one])) == 1 for one in np.unique(documents))
    assert len(set(folds)) == 4
    for fold in set(folds):
        assert member[folds != fold].any()
        assert not member[folds != fold].all()


@pytest.mark.parametrize("documents", [[0, 0, 1, 2], [0, 1, 2, 2], [0, 0, 0, 0]])
def test_a_group_from_one_document_cannot_be_tested(documents):
    assert document_folds(np.array([True, True, False, False]), np.array(documents)) is None
