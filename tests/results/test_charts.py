"""Charts of TensorBoard, by corruption time."""

import re

from uddm_lightning.results.charts import charts_by_time


def test_charts_are_sorted_by_time_and_match_their_tags_alone() -> None:
    tags = ["recovery/train/t=0.5", "recovery/test/t=0.5", "transition/gap/t=0.05", "entropy/test/t=1e-05", "loss/t=x"]
    (charts,) = charts_by_time("By t", [*tags, "nelbo/test/t=0.05-1"]).values()
    assert list(charts) == ["recovery and gap, t = 0.05", "recovery and gap, t = 0.5", "entropy, t = 1e-05"]
    patterns = [pattern for _, found in charts.values() for pattern in found]
    assert [[tag for tag in tags if re.fullmatch(pattern, tag)] for pattern in patterns] == [
        [tag] for tag in (tags[2], tags[0], tags[1], tags[3])
    ]
    assert charts_by_time("By t", ["loss/train"]) == {"By t": {}}
