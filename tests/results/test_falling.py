"""The test whether the NELBO was still falling, at the edge of the tolerance."""

import numpy as np
import pyarrow as pa
import pytest

from uddm_lightning.results.falling import falling
from uddm_lightning.results.tables import ROWS

DRAWS, TOKENS = 64, 32
RNG = np.random.default_rng(0)
LEVEL, WOBBLE = RNG.normal(2.0, 0.8, DRAWS), RNG.normal(0.0, 0.02, (4, DRAWS))  # per row; per row and step


def table(*means: float, documents: int | None = None, draws: int = DRAWS, last: int | None = None) -> pa.Table:
    """Return losses per draw at validations 100, 200, ...: equal rows with individual losses, shifted to given
    means."""
    rows = []
    for number, mean in enumerate(means):
        noise = WOBBLE[number] - WOBBLE[number].mean()
        for draw in range(last if last and number == len(means) - 1 else draws):
            loss = TOKENS * (LEVEL[draw] + mean + noise[draw])
            about = {"metric": "nelbo", "split": "test", "step": 100 * (number + 1), "weights": "ema", "sampler": ""}
            document = None if documents is None else draw % documents
            rows.append({**about, "row_id": draw, "draw": draw, "document": document, "count": TOKENS, "loss": loss})
    return pa.Table.from_pylist(rows, schema=ROWS)


def test_a_fall_is_reported_if_the_whole_interval_is_beyond_the_tolerance() -> None:
    # differences of two validations have a standard deviation of about 0.03, so half an interval is about 0.007
    assert falling(table(0.2, 0.1, 0.08)) is True
    assert falling(table(0.020, 0.01, 0.0)) is True
    assert falling(table(0.012, 0.01, 0.0)) is None, "the interval holds the tolerance"
    assert falling(table(0.001, 0.0005, 0.0)) is False
    assert falling(table(0.0, 0.1, 0.2)) is False
    assert falling(table(0.2, 0.0, 0.05)) is False, "it rises at the end"
    assert falling(table(0.9, 0.001, 0.0005, 0.0)) is False, "what was long before does not count"


def test_rows_are_paired() -> None:
    """Between rows the loss varies by 0.8 nats: 64 unpaired rows would leave 0.28 in doubt."""
    assert falling(table(0.030, 0.015, 0.0)) is True
    # draws of the last validation alone are left out
    assert falling(table(0.030, 0.015, 0.0, draws=32, last=64)) is True


def test_documents_are_the_units_if_known() -> None:
    means = (0.020, 0.01, 0.0)
    assert falling(table(*means, documents=16)) is not False
    assert falling(table(*means, documents=4)) is None, "four documents tell nothing"


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_fewer_than_three_validations_give_no_result(steps: int) -> None:
    assert falling(table(*[1.0, 0.5][:steps])) is None
    assert falling(table(0.2, 0.1, 0.0), split="train") is None
    assert falling(table(0.2, 0.1, 0.0, draws=7)) is None
