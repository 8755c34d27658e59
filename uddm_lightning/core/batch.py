"""What flows between the rooms: rows of tokens, and rows of tokens with noise.

Shapes: B rows, L positions, N = B * L tokens, V ids in the vocabulary, K of them at a position, D features.
"""

from typing import NamedTuple

from torch import Tensor


class TokenBatch(NamedTuple):
    """Rows of tokens and where they come from.

    Attributes:
        tokens_BL: int64 ids.
        rows_B: int64 row numbers in the pool of their split; -1 marks a filler row that must not be counted.
        places_B: int64 position in the global batch, or number of the draw in a measurement.
        keys_B: int64 noise keys; all randomness spent on a row is derived from its key.
        quantiles_B: float64 in [0, 1), stratified over the global batch; an objective maps them to times.
        valid_BL: bool, False at padding; None where every position is valid.
        special_BL: bool, True where the packing put a begin, end or separator; None where it put none.
        seed: noise key of this micro-batch as a plain integer (it seeds dropout).
        step: optimizer step that uses the batch; 0 while measuring.
        documents_B: int64 numbers of the documents that rows are from, -1 where a row is all that its document gives;
            None where that is so everywhere, or nobody knows.
    """

    tokens_BL: Tensor
    rows_B: Tensor
    places_B: Tensor
    keys_B: Tensor
    quantiles_B: Tensor
    valid_BL: Tensor | None
    special_BL: Tensor | None
    seed: int
    step: int
    documents_B: Tensor | None = None


class SoftTokens(NamedTuple):
    """Mixtures of ids in the place of ids: a network reads them as the mixture of its embeddings.

    Attributes:
        ids_BLK: int64 ids, different from each other at a position.
        weights_BLK: float, at least 0, of sum 1 at a position.
    """

    ids_BLK: Tensor
    weights_BLK: Tensor


class Noised(NamedTuple):
    """Rows after the forward process.

    Attributes:
        x0_BL: int64 clean ids.
        xt_BL: int64 ids at time t.
        t_B: float64 times in [0, 1], on the clock by which the objective draws them.
        alpha_B: float64 signal levels at t.
        slope_B: float64 derivatives of alpha on that clock at t.
        valid_BL: bool or None, as in `TokenBatch`.
        soft: what the network reads in the place of `xt_BL`; None where it reads that.
    """

    x0_BL: Tensor
    xt_BL: Tensor
    t_B: Tensor
    alpha_B: Tensor
    slope_B: Tensor
    valid_BL: Tensor | None = None
    soft: SoftTokens | None = None
