"""The evidence for a regime, as it is read from a table."""

import pytest

from tests.support.simulated_sweeps import row
from tests.support.transition_tables import FINE, SIZES, TEST, TRAIN, Rows, both
from uddm_lightning.transition import estimate


@pytest.mark.parametrize(
    ("falling_by_seed", "qualifiers"),
    [
        ((True, False), ["training was not at its end"]),
        ((True, None), ["training was not at its end"]),
        ((False, False), []),
        ((None, None), []),
    ],
)
def test_a_nelbo_that_still_falls_is_a_qualifier(
    falling_by_seed: tuple[bool | None, ...], qualifiers: list[str]
) -> None:
    rows: Rows = []
    for seed, falling in enumerate(falling_by_seed):
        rows += both(SIZES, TRAIN, TEST, FINE, seed)
        rows.append(row(8192, seed, "nelbo", "test", 2.3, 2.2, 2.4, nelbo_falling=falling))
    result = estimate(rows)
    assert result["backbones"]["DiT"]["regimes"][-1]["qualifiers"] == qualifiers
    said = "training was not at its end at size 8192" in result["headline"]["DiT"]["qualifier"]
    assert said == bool(qualifiers)


@pytest.mark.parametrize("falling", [True, False, None])
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_the_falling_nelbo_is_read_from_its_column(falling: bool | None, way: float) -> None:
    """The column is used instead of the means of three validations, because `falling` compares draw by draw."""
    rows = both(SIZES, TRAIN, TEST, FINE)
    for step, nelbo in ((1000, 2.3 - way / 2), (1500, 2.3 - way / 4), (2000, 2.3)):
        values = nelbo, nelbo - 0.01, nelbo + 0.01
        rows.append(row(8192, 0, "nelbo", "test", *values, step=step, nelbo_falling=falling if step == 2000 else None))
    qualifiers = estimate(rows)["backbones"]["DiT"]["regimes"][-1]["qualifiers"]
    assert qualifiers == (["training was not at its end"] if falling else [])
