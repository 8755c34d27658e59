"""N-gram model of held-out rows as critic: it has seen no training row of any subset."""

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.critics.base import CriticText
from uddm_lightning.critics.ngram import NgramCritic


class HeldOutNgramCritic(NgramCritic):
    """`NgramCritic` that is fitted on held-out rows instead of the training pool.

    A critic of the pool has seen the training rows, and gives a model that repeats them a low perplexity because of
    that. This one has seen no row of any subset, and is the same for all sizes and seeds. The test rows whose own
    perplexity is measured are left out, too.

    Args:
        order: as for `NgramCritic`.
        num_rows: largest number of held-out rows to fit on, at least 1.

    Raises:
        ValueError: `order` or `num_rows` is below 1.

    Example:
        >>> import torch
        >>> rows, train = torch.tensor([[0, 1, 0, 1]]), torch.tensor([[1, 1, 1, 1]])
        >>> critic = HeldOutNgramCritic(order=2)
        >>> critic.fit(CriticText(1, lambda ids: train[ids], 2, str, 1, lambda ids: rows[ids]))
        >>> critic.nll(rows).neg().exp()
        tensor([[0.5000, 0.8333, 0.7500, 0.8333]], dtype=torch.float64)
    """

    @property
    @override
    def name(self) -> str:
        return f"held-out {super().name}"

    @override
    def fit(self, text: CriticText) -> None:
        if text.held_out is None or not text.held_out_size:
            raise InputError(
                "`samples.critic` is HeldOutNgramCritic, but all held-out rows are measured: set a smaller "
                "`data.num_sample_rows`, a larger `data.test_fraction`, or use NgramCritic."
            )
        super().fit(text._replace(pool_size=text.held_out_size, rows=text.held_out))
