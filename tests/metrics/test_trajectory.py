"""TrajectoryPoint, compared with means over counted tokens by hand."""

import pytest

from tests.support.metrics import VOCAB, toy
from uddm_lightning.metrics import RowIds, TrajectoryPoint
from uddm_lightning.metrics.functional import PredictionSpread


def test_every_measure_is_the_mean_over_counted_tokens() -> None:
    d = toy()
    measures = PredictionSpread(*(d["real"] / number for number in range(1, 6)))
    metric = TrajectoryPoint(VOCAB)
    metric.update(measures, d["counted"], RowIds(d["rows"]))
    result = metric.compute()
    counted = d["counted"] & (d["rows"] >= 0)[:, None]
    for name, values in measures._asdict().items():
        assert getattr(result, name) == pytest.approx(float(values[counted].double().mean())), name
    assert result.entropy_low < result.entropy < result.entropy_high


def test_vocabulary_error() -> None:
    with pytest.raises(ValueError, match=r"^`vocab_size` must be at least 2, got 1\.$"):
        TrajectoryPoint(1)
