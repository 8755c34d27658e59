"""Neighbours of samples, their overlaps, entropies and labels, against brute force on plain lists."""

import math
from collections import Counter

import pytest
import torch

from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.metrics import neighbours as place
from uddm_lightning.metrics.neighbours import Overlap, nearest, nearest_other, unigram_entropy
from uddm_lightning.stats.ngrams import ABSENT, Ngrams

V, L = 3, 7


def rows(count, seed, length=L):
    return torch.randint(V, (count, length), generator=torch.Generator().manual_seed(seed))


def distance(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def grams(row, n):
    return [tuple(row[start : start + n]) for start in range(len(row) - n + 1)]


@pytest.mark.parametrize("elements", [1, 50, 2**22])
def test_the_nearest_row_is_the_first_of_the_nearest(monkeypatch, elements):
    monkeypatch.setattr(place, "ELEMENTS", elements)
    samples, text = rows(20, 0), rows(60, 1)
    found = nearest(samples, [text[:25], text[25:31], text[31:]])
    for sample, least, where in zip(samples.tolist(), found.distance_B.tolist(), found.place_B.tolist(), strict=True):
        all_of_them = [distance(sample, row) for row in text.tolist()]
        assert least == min(all_of_them)
        assert where == all_of_them.index(least)


@pytest.mark.parametrize("elements", [1, 50, 2**22])
def test_the_nearest_other_sample(monkeypatch, elements):
    monkeypatch.setattr(place, "ELEMENTS", elements)
    samples = rows(20, 2)
    samples[7] = samples[3]
    listed = samples.tolist()
    expected = [min(distance(a, b) for j, b in enumerate(listed) if j != i) for i, a in enumerate(listed)]
    assert nearest_other(samples).tolist() == expected
    assert nearest_other(samples[:1]).tolist() == [L + 1]
    assert nearest_other(samples[:0]).tolist() == []


@pytest.mark.parametrize("n", [1, 2, 4, L])
def test_overlaps_are_shares_of_n_grams(n):
    samples, text = rows(12, 3), rows(9, 4)
    overlap = Overlap(samples, n, V)
    overlap.see(text[:4])
    overlap.see(text[4:])
    anywhere = {gram for row in text.tolist() for gram in grams(row, n)}
    for sample, share in zip(samples.tolist(), overlap.anywhere().tolist(), strict=True):
        assert share == pytest.approx(sum(gram in anywhere for gram in grams(sample, n)) / (L - n + 1))
    paired = overlap.within(text[torch.arange(12) % 9])
    for index, (sample, share) in enumerate(zip(samples.tolist(), paired.tolist(), strict=True)):
        theirs = set(grams(text[index % 9].tolist(), n))
        assert share == pytest.approx(sum(gram in theirs for gram in grams(sample, n)) / (L - n + 1))


def test_an_n_gram_has_one_number_and_does_not_cross_padding():
    text = torch.tensor([[0, 1, 2, 0], [1, 2, ABSENT, ABSENT]])
    ngrams = Ngrams(text, 2, V)
    begun, ended = list(ngrams.lookup(text))[1]
    assert (ended[:, 0] == ABSENT).all()  # no past
    assert ended[0, 2] == ended[1, 1] != ABSENT  # "1 2" twice
    assert (ended[1, 2:] == ABSENT).all()
    assert begun[1, 1] == begun[0, 2]
    assert ngrams.counts[1].sum() == 4
    assert ngrams.lookup_longest(torch.tensor([[2, 2]])).tolist() == [[ABSENT, ABSENT]]
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        Ngrams(text, 0, V)
    with pytest.raises(ValueError, match="`n` must be from 1 to the length of a row, 4, got 5"):
        Overlap(text, 5, V)


def test_numbers_of_long_n_grams_of_large_vocabularies_do_not_overflow():
    large = 50_000
    text = torch.randint(large, (30, 40), generator=torch.Generator().manual_seed(0))
    longest = Ngrams(text, 12, large).lookup_longest(text)[:, 11:].flatten()
    assert len(longest.unique()) == 30 * 29


def test_unigram_entropy_is_the_entropy_of_frequencies_within_a_row():
    samples = rows(15, 5)
    counted = torch.rand(15, L, generator=torch.Generator().manual_seed(6)) < 0.8
    counted[0] = False
    for sample, mask, found in zip(samples.tolist(), counted.tolist(), unigram_entropy(samples, counted), strict=True):
        kept = [token for token, counts in zip(sample, mask, strict=True) if counts]
        shares = [count / len(kept) for count in Counter(kept).values()]
        expected = -sum(share * math.log(share) for share in shares) if kept else math.nan
        assert float(found) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert unigram_entropy(torch.zeros(1, L).long(), torch.ones(1, L).bool()).item() == 0.0


def update(metric, samples, ids, distances):
    count = len(samples)
    nll = torch.arange(count * 2).double().view(count, 2) / 10
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    metric.update(samples, ids, distances, share, share, share, nll, torch.ones(count, 2).bool())


def test_labels_follow_their_definition_for_any_batch_size():
    samples = rows(40, 7, length=10)
    samples[31:36] = samples[30]
    samples[33, 0] = (samples[33, 0] + 1) % V
    distances = torch.arange(40) % 6
    within, doubled = 0.2, 0.1
    memorized = spurious = 0
    for index, sample in enumerate(samples.tolist()):
        near = distances[index] <= within * 10
        others = [distance(sample, other) for j, other in enumerate(samples.tolist()) if j != index]
        memorized += int(near)
        spurious += int(not near and min(others) <= doubled * 10)
    assert spurious >= 2
    results = []
    for pieces in ([slice(0, 40)], [slice(23, 40), slice(0, 23)]):
        metric = SampleNeighbours(10, within, doubled)
        for piece in pieces:
            update(metric, samples[piece], torch.arange(40)[piece], distances[piece])
        update(metric, samples[:1], torch.tensor([-1]), distances[:1])  # a filler
        results.append(metric.compute())
    result = results[0]
    assert result[:7] == results[1][:7]
    assert (result.n_memorized, result.n_spurious, result.n_novel) == (
        memorized,
        spurious,
        40 - memorized - spurious,
    )
    assert (result.n_rows, result.n_draws) == (40, 40)
    assert result.nearest_distance == pytest.approx(float(distances.double().mean()) / 10)


def test_the_perplexity_is_that_of_all_tokens():
    metric = SampleNeighbours(L, 0.1, 0.1)
    update(metric, rows(8, 8), torch.arange(8), torch.zeros(8))
    result = metric.compute()
    assert result.generative_perplexity == pytest.approx(math.exp(sum(range(16)) / 10 / 16))
    assert result.generative_perplexity_low < result.generative_perplexity < result.generative_perplexity_high


def test_novel_samples_have_a_separate_perplexity():
    """Novel samples may be bad text, so their perplexity is reported with their number."""
    metric = SampleNeighbours(L, 0.1, 0.1)
    update(metric, rows(8, 8), torch.arange(8), torch.tensor([0, 0, 0, L, L, L, L, L]))
    result = metric.compute()
    assert (result.n_memorized, result.n_novel) == (3, 5)
    assert result.novel_perplexity == pytest.approx(math.exp(sum(range(6, 16)) / 10 / 10))
    metric = SampleNeighbours(L, 0.1, 0.1)
    update(metric, rows(8, 8), torch.arange(8), torch.zeros(8))
    assert math.isnan(metric.compute().novel_perplexity)


def test_thresholds_are_not_affected_by_rounding():
    """A difference of 3 of 30 positions is within the threshold 0.1, whatever the rounding."""
    samples = torch.arange(30).repeat(2, 1)
    samples[1, :3] += 1
    metric = SampleNeighbours(30, 0.1, 0.1)
    update(metric, samples, torch.arange(2), torch.tensor([3, 4]))
    assert metric.compute()[2:5] == (1, 1, 0)


def test_without_samples_there_are_no_numbers():
    result = SampleNeighbours(L, 0.1, 0.1).compute()
    assert result[:5] == (0, 0, 0, 0, 0)
    assert all(math.isnan(value) for value in result[5:])


@pytest.mark.parametrize("name", ["memorized_within", "spurious_within"])
def test_thresholds_are_checked(name):
    values = {"memorized_within": 0.1, "spurious_within": 0.1, name: 1.0}
    with pytest.raises(ValueError, match=rf"`{name}` must be in \[0, 1\), got 1.0"):
        SampleNeighbours(L, **values)
