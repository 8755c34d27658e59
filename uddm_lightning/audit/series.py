"""The verdicts on the checkpoints of one training, in the order of their steps."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from uddm_lightning.audit.calibration import UNDETERMINED
from uddm_lightning.audit.probe import Probed


def changes(series: Sequence[Probed]) -> list[str]:
    """Return the changes of the verdict over the steps as sentences, the last step first.

    A step whose verdict is undetermined neither ends nor begins a regime.

    Args:
        series: results of `probe_model`, in the order of their steps; at least one.
    """
    last = series[-1]
    sentences = [f"{named(last)} at step {_step(last):,}, the last, with probability {last.verdict.probability:.2f}"]
    known = [one for one in series if one.verdict.name != UNDETERMINED]
    for before, after in pairwise(known):
        if before.verdict.name != after.verdict.name:
            sentences.append(
                f"between step {_step(before):,} and step {_step(after):,} the verdict changes from "
                f"{before.verdict.name} to {after.verdict.name}"
            )
    if len(known) < len(series):
        sentences.append(f"the verdict is undetermined at {len(series) - len(known)} of {len(series)} steps")
    return sentences


def curve_json(series: Sequence[Probed]) -> dict[str, Any]:
    """Return the numbers of all steps as plain data, with the calibration once; NaN becomes None."""
    models = [one.to_json() for one in series]
    shared = {"changes": changes(series), "calibration": series[0].calibration.to_json()}
    return shared | {"models": [{k: v for k, v in model.items() if k != "calibration"} for model in models]}


def named(one: Probed) -> str:
    """Return the verdict with the most probable regime if it is undetermined."""
    verdict = one.verdict
    return verdict.name if verdict.name != UNDETERMINED else f"undetermined (most probably {verdict.most_probable})"


def _step(one: Probed) -> int:
    return int(one.model["step"])
