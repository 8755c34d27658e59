"""Test whether the NELBO was still falling at the end of training.

Shapes: D draws that three validations share, U units of error among them.
"""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uddm_lightning.stats.student_t import student_t

VALIDATIONS = 3
TOLERANCE = 0.01  # nats per token
LEAST = 8  # units of error that an interval needs


def falling(draws: pa.Table, split: str = "test", tolerance: float = TOLERANCE) -> bool | None:
    """Return whether the NELBO fell over the last three validations, on the draws that all three share.

    Rows, noise and times of a draw are the same at every validation, so losses are compared draw by draw. The NELBO is
    falling if the whole 95 % interval of the last mean minus the first of the three lies below -`tolerance`, and the
    last mean is below the second. It is not falling if the last mean is not below the second, or if the whole interval
    lies above -`tolerance`. The interval is clustered by unit of error: by document if draws have one, else by row.

    Args:
        draws: rows of rows.parquet of one run and one kind of weights.
        split: split whose NELBO is compared.
        tolerance: largest fall per token, in nats, that does not count.

    Returns:
        True or False; None with fewer than three validations, with fewer than 8 units, or if the interval includes
        -`tolerance`.

    Example:
        >>> steps, rows = [100, 200, 300], list(range(8))
        >>> columns = {"step": [s for s in steps for _ in rows], "row_id": rows * 3, "count": [1] * 24}
        >>> columns |= {"metric": ["nelbo"] * 24, "split": ["test"] * 24, "draw": [0] * 24, "document": [None] * 24}
        >>> falling(pa.table(columns | {"loss": [3.0] * 8 + [2.5] * 8 + [2.0] * 8}))
        True
    """
    table = draws.filter((pc.field("metric") == "nelbo") & (pc.field("split") == split))
    steps = sorted(set(table["step"].to_pylist()))[-VALIDATIONS:]
    if len(steps) < VALIDATIONS:
        return None
    found: list[dict[tuple[int, int], tuple[float, float]]] = []
    for step in steps:
        mine = table.filter(pc.field("step") == step)
        keys = zip(mine["row_id"].to_pylist(), mine["draw"].to_pylist(), strict=True)
        values = zip(mine["loss"].to_pylist(), mine["count"].to_pylist(), strict=True)
        found.append(dict(zip(keys, values, strict=True)))
    shared = sorted(set.intersection(*(set(one) for one in found)))
    documents = dict(zip(table["row_id"].to_pylist(), table["document"].to_pylist(), strict=True))
    unit_D = [(0, row) if documents[row] is None else (1, documents[row]) for row, _ in shared]
    losses_3D = np.array([[one[key][0] for key in shared] for one in found])
    count_D = np.array([found[-1][key][1] for key in shared])
    names, place_D = np.unique(np.array(unit_D).reshape(-1, 2), axis=0, return_inverse=True)
    if len(names) < LEAST:
        return None
    total = count_D.sum()
    first, second, last = losses_3D.sum(1) / total
    if not last < second:
        return False
    fall_U = np.bincount(place_D.ravel(), losses_3D[2] - losses_3D[0])
    residual_U = fall_U - (last - first) * np.bincount(place_D.ravel(), count_D)
    units = len(names)
    error = math.sqrt(units / (units - 1) * float((residual_U**2).sum())) / total
    half = student_t(units - 1) * error
    if last - first + half < -tolerance:
        return True
    return False if last - first - half > -tolerance else None
