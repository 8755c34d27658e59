"""Tokens of a batch keep their row's noise level."""

import torch

from uddm_lightning.core.batch import Noised, NoisyTokens


def test_tokens_are_the_rows_one_after_another() -> None:
    x0_BL, level_B = torch.arange(6).view(2, 3), torch.tensor([0.25, 0.75], dtype=torch.float64)
    tokens = Noised(x0_BL, x0_BL + 10, 1 - level_B, level_B, -level_B).tokens
    assert tokens.x0_N.tolist() == [0, 1, 2, 3, 4, 5]
    assert tokens.xt_N.tolist() == [10, 11, 12, 13, 14, 15]
    assert tokens.alpha_N.tolist() == [0.25] * 3 + [0.75] * 3
    assert tokens.slope_N.tolist() == [-0.25] * 3 + [-0.75] * 3


def test_a_chunk_takes_the_same_tokens_of_every_part() -> None:
    numbers_N = torch.arange(5)
    chunk = NoisyTokens(numbers_N, numbers_N + 5, numbers_N.double(), -numbers_N.double()).chunk(slice(1, 3))
    assert [part_N.tolist() for part_N in chunk] == [[1, 2], [6, 7], [1.0, 2.0], [-1.0, -2.0]]
