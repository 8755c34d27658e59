"""The reference t of a table."""

from tests.support.simulated_sweeps import row
from uddm_lightning.results.parsed import parse
from uddm_lightning.results.reference import reference


def test_the_reference_is_the_level_nearest_to_a_tenth() -> None:
    rows = [row(8, 0, "entropy", "train", 0.1, 0.0, 0.2, t=t) for t in (0.01, 0.07, 0.25)]
    assert reference(parse(rows)[0].levels) == 0.07
