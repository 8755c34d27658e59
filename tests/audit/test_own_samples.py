"""Evidence on two models whose regime is certain: a table of rows, and the exact law of the text."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.audit.conftest import L, V, drawn, generalizer, memory_of
from uddm_lightning.audit.calibration import FEATURES
from uddm_lightning.audit.own_samples import NEAR, TIMES, measure_own_samples, near_clusters
from uddm_lightning.runs.run import Run


class Packing:
    length = L


def run_of(model):
    task = model.task
    task.denoiser = lambda weights: model.denoiser
    task.parameterization = model.denoiser.parameterization
    loaded = SimpleNamespace(task=task, packing=Packing(), length=L, seed=0, threads=1, tokenizer=lambda fetch: None)
    return Run(loaded)


@pytest.fixture(scope="module")
def stored():
    return drawn(0, 6).tokens_NL


@pytest.fixture(scope="module")
def memory(stored):
    return measure_own_samples(run_of(memory_of(stored)), 96)


@pytest.fixture(scope="module")
def language():
    return measure_own_samples(run_of(generalizer()), 96)


def test_a_memory_is_certain_of_its_own_samples_and_wrong_elsewhere(memory, stored):
    one = memory.evidence
    rows = {tuple(row) for row in stored.tolist()}
    assert sum(tuple(row) in rows for row in memory.tokens_SL.tolist()) > 80
    assert one.entropy_leave_one_out < 1e-6
    assert one.vanishing > 0.8
    assert one.duplicates > 0.9
    assert one.near_duplicates >= one.duplicates
    assert one.nll_spliced > 3 * one.entropy_spliced
    assert FEATURES["context"].value(one) < 0.2
    assert FEATURES["overconfidence"].value(one) > 0.6


def test_the_exact_law_is_honest_on_rows_that_it_has_not_drawn(language):
    one = language.evidence
    assert one.vanishing < 0.2
    assert one.duplicates < 0.2
    assert FEATURES["overconfidence"].value(one) < 0.35
    assert 0.2 < FEATURES["context"].value(one) < 1.0
    assert one.entropy_shuffled > 0.5 * one.entropy
    assert one.leak == 0.0  # exact leave-one-out predictions
    assert one.entropy_leave_one_out <= one.entropy < one.unigram_entropy <= one.largest_entropy == math.log(V)


def test_entropies_of_tokens_average_to_the_entropy(language):
    assert language.entropy_SL.shape == language.tokens_SL.shape == (96, L)
    assert float(language.entropy_SL.mean()) == pytest.approx(language.evidence.entropy)
    assert len(language.evidence.curve) == len(TIMES)
    assert list(language.evidence.curve) == sorted(language.evidence.curve)  # noise makes predictions uncertain


def test_numbers_repeat_with_the_seed():
    first, again, other = (measure_own_samples(run_of(generalizer()), 8, seed).evidence for seed in (1, 1, 2))
    assert first == again or str(first) == str(again)  # NaN differs from itself
    assert first.entropy != other.entropy


def test_a_single_stored_row_has_no_halves_of_two_samples(stored):
    one = measure_own_samples(run_of(memory_of(stored[:1])), 16).evidence
    assert math.isnan(one.nll_spliced)
    assert FEATURES["overconfidence"].value(one) == 1.0
    assert one.near_duplicates == 1.0


def test_clusters_are_those_of_a_plain_loop():
    rows = torch.randint(0, 2, (40, 20), generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 0)
    rows[::4, 0] = 3
    expected = list(range(len(rows)))
    for first in range(len(rows)):
        if expected[first] != first:
            continue
        for later in range(first + 1, len(rows)):
            distance = sum(a != b for a, b in zip(rows[first].tolist(), rows[later].tolist(), strict=True))
            if expected[later] == later and distance <= NEAR * 20:
                expected[later] = first
    assert near_clusters(rows, NEAR).tolist() == expected
    assert near_clusters(rows, 0.0).tolist() != expected
