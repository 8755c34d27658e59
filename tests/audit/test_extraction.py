from itertools import combinations

import numpy as np
import pytest
import torch

from tests.audit.conftest import L, generalizer, memory_of
from uddm_lightning.audit.extraction import (
    MASKS,
    Attempts,
    attempt,
    hidden_mask,
    success_probability,
    summarize_attempts,
)


def hidden(kind, counted, share, keys=None):
    counted_BL = torch.tensor([counted]).bool()
    keys_B = torch.zeros(1).long() if keys is None else keys
    return hidden_mask(kind, counted_BL.expand(len(keys_B), -1), share, keys_B).int().tolist()


def test_masks_hide_a_part_of_the_counted_positions():
    counted = [0, 1, 1, 1, 1, 1, 1, 0, 0]  # a begin token, six of text, padding
    assert hidden("prefix", counted, 0.5) == [[0, 1, 1, 1, 0, 0, 0, 0, 0]]
    assert hidden("suffix", counted, 0.5) == [[0, 0, 0, 0, 1, 1, 1, 0, 0]]
    assert hidden("span", counted, 0.3) == [[0, 0, 0, 1, 1, 0, 0, 0, 0]]
    assert hidden("suffix", counted, 0.01) == [[0, 0, 0, 0, 0, 0, 1, 0, 0]]
    for kind in MASKS:
        assert hidden(kind, counted, 1.0) == [counted]


def test_scattered_positions_are_random_and_equally_likely():
    found = torch.tensor(hidden("scattered", [0, 1, 1, 1, 1, 0], 0.5, torch.arange(6000)))
    assert (found.sum(1) == 2).all()
    counts = {pair: int((found[:, list(pair)] == 1).all(1).sum()) for pair in combinations((1, 2, 3, 4), 2)}
    assert sum(counts.values()) == 6000
    assert all(abs(count - 1000) < 4 * 30 for count in counts.values()), counts


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("mask", [False, True], ids=["uniform", "absorbing"])
def test_a_memory_restores_its_rows_and_no_others(kind, mask, members, nonmembers):
    own, other = (rows.select(torch.arange(20)) for rows in (members, nonmembers))
    model = memory_of(own.tokens_NL, mask)
    stored = attempt(*model, own, kind, 0.5, 4, seed=0)
    unseen = attempt(*model, other, kind, 0.5, 4, seed=0)
    assert stored.verbatim_N.mean() / 4 > 0.85
    assert unseen.verbatim_N.mean() / 4 < 0.2
    assert (stored.hidden_N == 4 * L // 2).all()
    assert (stored.right_N[stored.verbatim_N == 4] == stored.hidden_N[stored.verbatim_N == 4]).all()


def test_known_positions_stay_and_hidden_ones_start_from_noise(members):
    model, seen = generalizer(), []

    def sampler(denoiser, xt_BL, t, keys_B, valid_BL, clean_BL):
        seen.append((xt_BL, t, clean_BL))
        return xt_BL

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uddm_lightning.audit.extraction.AncestralSampler", lambda steps, clamp: sampler)
        found = attempt(*model, members, "suffix", 0.5, 2, seed=0)
    started_NL = torch.cat([xt_BL for xt_BL, _, _ in seen[::2]])
    assert torch.equal(started_NL[:, :6], members.tokens_NL[:, :6])
    assert all(t == 1.0 and bool(clean_BL[:, :6].all()) and not bool(clean_BL[:, 6:].any()) for _, t, clean_BL in seen)
    counts = torch.bincount(started_NL[:, 6:].flatten(), minlength=6)
    assert (counts - 150).abs().max() < 4 * 12  # 900 uniform ids
    assert not torch.equal(seen[0][0], seen[1][0])
    assert abs(found.right_N.sum() / found.hidden_N.sum() - 1 / 6) < 0.05


def test_the_probability_of_success_is_that_of_a_random_choice_of_attempts():
    for k in range(6):
        outcomes = [place < k for place in range(5)]
        for n in range(1, 6):
            expected = np.mean([any(chosen) for chosen in combinations(outcomes, n)])
            assert success_probability([k], 5, n)[0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="`n` must be from 1 to `attempts` = 5, got 6"):
        success_probability([1], 5, 6)


def test_rates_of_a_few_attempts_by_hand():
    found = Attempts(np.array([4, 1, 0]), np.array([12, 6, 2]), np.array([12, 12, 12]))
    summary = summarize_attempts(found, np.array([7, 7, 9]), 4, (0.25, 0.5, 0.9))
    assert summary["verbatim"]["value"] == pytest.approx(5 / 12)
    assert summary["extracted"]["value"] == pytest.approx(2 / 3)
    assert summary["tokens_right"]["value"] == pytest.approx(20 / 36)
    assert (summary["sequences"], summary["hidden_tokens"]) == (3, 9)
    shares = {(one["n"], one["p"]): round(3 * one["value"]) for one in summary["n_p"]}
    assert shares == {(1, 0.25): 2, (1, 0.5): 1, (1, 0.9): 1, (2, 0.25): 2, (2, 0.5): 2, (2, 0.9): 1} | {
        (4, p): 2 for p in (0.25, 0.5, 0.9)
    }
