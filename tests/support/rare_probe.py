"""A probe outside the package, in a single file."""

from collections.abc import Sequence

import torch
from torchmetrics import MeanMetric

from uddm_lightning.probes import Probe
from uddm_lightning.results.declarations import Column, Figure


class EndProbe(Probe):
    """Likelihood of the last token of a row.

    Args:
        times: corruption times.
        kwargs: arguments of `Probe`.
    """

    kind, title = "end", "Likelihood of the last token"
    columns = (Column("end_likelihood", "probability", "probability of the last token of a row", 0.0, 1.0),)
    figure = Figure("The last token of a row", "Probability that the model gives to the last token of a row.")

    def __init__(self, times: Sequence[float] = (0.3,), **kwargs) -> None:
        super().__init__(**kwargs)
        self.times = tuple(times)

    def measure(self, at):
        x0_BL = at.batch.tokens_BL
        last_B = torch.full_like(at.batch.rows_B, x0_BL.shape[1] - 1)
        for t in self.times:
            t_B = torch.full_like(at.batch.keys_B, t, dtype=torch.float64)
            xt_BL = at.task.process.corrupt(x0_BL, t_B, at.batch.keys_B, at.batch.valid_BL).xt_BL
            log_BV = at.denoiser.predict_at(xt_BL, last_B, t_B, at.batch.valid_BL)
            self.metric(at, MeanMetric, t).update(log_BV.exp().gather(1, x0_BL[:, -1:]))

    def compute_records(self, task):
        for (split, weights, t), metric in self.collected.items():
            yield {"split": split, "weights": weights, "t": t, "end_likelihood": float(metric.compute())}
