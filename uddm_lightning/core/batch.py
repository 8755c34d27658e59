"""Batch types shared by all modules.

Shapes: B rows, L positions, N = B * L tokens, V ids in the vocabulary, K ids per position, D features.
"""

from typing import NamedTuple

from torch import Tensor


class TokenBatch(NamedTuple):
    """A batch of token rows with their origin and their noise keys.

    Attributes:
        tokens_BL: int64 ids.
        rows_B: int64 row numbers in the pool of the split; -1 marks a filler row, which is not counted.
        places_B: int64 positions in the global batch, or draw numbers in a measurement.
        keys_B: int64 noise keys; all randomness of a row is derived from its key.
        quantiles_B: float64 in [0, 1), stratified over the global batch; an objective maps them to times.
        valid_BL: bool, False at padding; None if every position is valid.
        special_BL: bool, True at begin, end and separator tokens of the packing; None if there are none.
        seed: noise key of this micro-batch as a Python integer; it seeds dropout.
        step: optimizer step that uses the batch; 0 in a measurement.
        documents_B: int64 document numbers of the rows; -1 for a row that is the only one of its document; None if
            every row is, or if the documents are unknown.
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
    """Convex combinations of ids. A network embeds each as the weighted mean of the embeddings of its ids.

    Attributes:
        ids_BLK: int64 ids, distinct at each position.
        weights_BLK: float weights, non-negative, with sum 1 at each position.
    """

    ids_BLK: Tensor
    weights_BLK: Tensor


class NoisyTokens(NamedTuple):
    """Clean and noisy tokens with their noise levels: any subset of the B * L tokens of a batch.

    Attributes:
        x0_N: int64 clean ids.
        xt_N: int64 noisy ids at time t.
        alpha_N: float64 signal levels alpha_t.
        slope_N: float64 derivatives d alpha_t / d t.
    """

    x0_N: Tensor
    xt_N: Tensor
    alpha_N: Tensor
    slope_N: Tensor

    def chunk(self, some: slice) -> "NoisyTokens":
        """Return some of the tokens."""
        return NoisyTokens(*(values_N[some] for values_N in self))


class Noised(NamedTuple):
    """Output of the forward process: clean rows, noisy rows and their noise levels.

    Attributes:
        x0_BL: int64 clean ids.
        xt_BL: int64 ids at time t.
        t_B: float64 times in [0, 1], on the clock of the objective that draws them.
        alpha_B: float64 signal levels alpha_t.
        slope_B: float64 derivatives d alpha_t / d t on the same clock.
        valid_BL: bool or None, as in `TokenBatch`.
        soft: network input that replaces `xt_BL`; None if the network reads `xt_BL`.
    """

    x0_BL: Tensor
    xt_BL: Tensor
    t_B: Tensor
    alpha_B: Tensor
    slope_B: Tensor
    valid_BL: Tensor | None = None
    soft: SoftTokens | None = None

    @property
    def tokens(self) -> NoisyTokens:
        """The B * L tokens, row by row."""
        length = self.x0_BL.shape[1]
        alpha_N, slope_N = (level_B.repeat_interleave(length) for level_B in (self.alpha_B, self.slope_B))
        return NoisyTokens(self.x0_BL.flatten(), self.xt_BL.flatten(), alpha_N, slope_N)
