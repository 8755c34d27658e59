"""Rows of text for critics to fit and to score."""

import torch

from uddm_lightning.critics import CriticText

V, L = 3, 6


def text(rows=25, seed=0):
    return torch.randint(V - 1, (rows, L), generator=torch.Generator().manual_seed(seed))  # the last id never occurs


def critic_text(rows_NL, vocab_size=V):
    return CriticText(len(rows_NL), lambda ids: rows_NL[ids], vocab_size, lambda ids: " ".join(map(str, ids)))
