"""The tables of a sweep as the report reads them."""

from tests.support import made_sweeps
from uddm_lightning.results.study import Study


def test_oracles_alone_are_reported_like_models(tmp_path):
    rows = made_sweeps.with_oracle(made_sweeps.measurements(tmp_path))
    alone = Study([row for row in rows if row["backbone"] == "MarkovBackbone"])
    assert alone.backbones == ["MarkovBackbone"]
    assert alone.oracles == []
