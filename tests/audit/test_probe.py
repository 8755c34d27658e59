"""The result of a probe as plain data."""

import json

from tests.audit.known import probed
from uddm_lightning.audit.own_samples import TIMES
from uddm_lightning.audit.probe import Probed


def test_the_result_is_plain_data_without_nan(calibration):
    found: Probed = probed(calibration)
    broken = found._replace(evidence=found.evidence._replace(nll=float("nan")))
    content = json.loads(json.dumps(broken.to_json(), allow_nan=False))
    assert content["model"]["checkpoint"] == "abc"
    assert content["verdict"]["name"] == found.verdict.name
    assert content["evidence"]["nll"] is None
    assert content["evidence"]["curve"].keys() == set(map(str, TIMES))
    assert (content["text"], content["entropy"]) == (None, [])
