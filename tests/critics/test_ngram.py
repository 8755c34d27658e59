"""The n-gram critic against a direct count."""

import math
from itertools import product

import pytest
import torch

from tests.support.critics import L, V, critic_text, text
from uddm_lightning.critics import CriticText, HubCritic, NgramCritic
from uddm_lightning.stats.ngrams import ABSENT


def witten_bell(rows, order, history, word):
    """Return p(word | history) from the definition, by counting in lists."""
    if order == 0:
        return 1 / V
    history = history[max(0, len(history) - order + 1) :]
    followers = [
        row[start + len(history)]
        for row in rows
        for start in range(len(row) - len(history))
        if row[start : start + len(history)] == history
        and row[start + len(history)] != ABSENT
        and ABSENT not in history
    ]
    lower = witten_bell(rows, len(history), history[1:], word) if history else 1 / V
    kinds = len(set(followers))
    return (followers.count(word) + kinds * lower) / (len(followers) + kinds) if kinds else lower


@pytest.mark.parametrize("order", [1, 2, 4, 9])
def test_probabilities_are_those_of_witten_and_bell(order):
    rows_NL = text()
    rows_NL[3, 4:] = ABSENT
    critic = NgramCritic(order=order)
    critic.fit(critic_text(rows_NL))
    new_BL = torch.randint(V, (10, L), generator=torch.Generator().manual_seed(1))
    nll_BL = critic.nll(new_BL)
    for row, found in zip(new_BL.tolist(), nll_BL.tolist(), strict=True):
        expected = [-math.log(witten_bell(rows_NL.tolist(), order, row[:place], row[place])) for place in range(L)]
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_probabilities_sum_to_one_after_every_history(order):
    critic = NgramCritic(order=order)
    critic.fit(critic_text(text()))
    for history in product(range(V), repeat=4):
        candidates = torch.tensor([[*history, word] for word in range(V)])
        assert critic.nll(candidates)[:, -1].neg().exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    every = torch.tensor(list(product(range(V), repeat=5)))  # also summed over all rows
    assert critic.nll(every).sum(1).neg().exp().sum().item() == pytest.approx(1.0, abs=1e-10)


def test_a_training_row_has_a_small_nll():
    rows_NL = torch.arange(200).view(1, 200)
    critic = NgramCritic(order=3)
    critic.fit(critic_text(rows_NL, vocab_size=1000))
    assert critic.nll(rows_NL)[0, 2:].mean() < 0.9 < 5 < critic.nll(rows_NL.flip(1))[0, 2:].mean()


def test_the_fitted_rows_are_evenly_spaced_over_the_pool():
    asked = []
    rows_NL = text(100)

    def rows(ids):
        asked.append(ids.tolist())
        return rows_NL[ids]

    NgramCritic(num_rows=4).fit(CriticText(100, rows, V, str))
    assert asked == [[0, 25, 50, 75]]


def test_the_scores_count_the_given_positions():
    critic = NgramCritic(order=2)
    critic.fit(critic_text(text()))
    rows_BL, counted_BL = text(4, 5), torch.rand(4, L, generator=torch.Generator().manual_seed(2)) < 0.5
    scores = critic.score(rows_BL, counted_BL)
    assert torch.equal(scores.counted_BM, counted_BL)
    assert torch.equal(scores.nll_BM, critic.nll(rows_BL))  # positions that do not count are still history
    assert critic.name == "2-gram"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NgramCritic(order=0), "`order` must be at least 1, got 0"),
        (lambda: NgramCritic(num_rows=0), "`num_rows` must be at least 1, got 0"),
        (lambda: HubCritic("gpt2", batch_size=0), "`batch_size` must be at least 1, got 0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("critic", [NgramCritic(), HubCritic("gpt2")])
def test_score_before_fit_raises(critic):
    with pytest.raises(RuntimeError, match="call `fit` first"):
        critic.score(text(2), torch.ones(2, L).bool())
