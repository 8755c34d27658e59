"""Samples against the training rows, by brute force on a small text."""

import math

import pytest
import torch

from tests.support.texts import made, sentences
from uddm_lightning.data import Subset, WrappedPacking
from uddm_lightning.probes.train_comparison import TrainComparison, comparison_lines

L, N = 8, 12


@pytest.fixture(scope="module")
def against() -> TrainComparison:
    packing = WrappedPacking(L)
    corpus = made(sentences(40), packing=packing)
    return TrainComparison.with_ngram_critic(corpus, Subset(len(corpus.train), N, 0, corpus.hash), packing)


def test_samples_are_compared_with_the_rows_of_the_subset_alone(against: TrainComparison) -> None:
    train_NL = against.corpus.train.tokens(against.subset.rows(torch.arange(N)))
    others_BL = against.corpus.test.tokens(torch.arange(3))
    samples_BL = torch.cat([train_NL[4:5], others_BL])
    metric = against.new_metric()
    against.update(metric, samples_BL, torch.ones_like(samples_BL, dtype=torch.bool), torch.arange(4))
    found = metric.compute()
    kept = against.kept_L
    distances = (samples_BL[:, None, kept] != train_NL[None, :, kept]).sum(2).amin(1)
    assert distances[0] == 0
    assert found.nearest_distance == pytest.approx(float(distances.sum()) / distances.numel() / against.length)
    assert found.n_memorized >= 1
    assert math.isfinite(found.generative_perplexity)
    lines = comparison_lines(found._asdict(), against)
    assert lines[0].startswith(f"   against {N} training rows: {found.n_memorized} memorized")
    assert "generative perplexity under the" in lines[-1]


def test_without_a_critic_there_is_no_perplexity(against: TrainComparison) -> None:
    alone = TrainComparison(against.corpus, against.subset, WrappedPacking(L), None, 3)
    metric, rows_BL = alone.new_metric(), against.corpus.test.tokens(torch.arange(2))
    alone.update(metric, rows_BL, torch.ones_like(rows_BL, dtype=torch.bool), torch.arange(2))
    found = metric.compute()
    assert math.isnan(found.generative_perplexity)
    assert len(comparison_lines(found._asdict(), alone)) == 3
