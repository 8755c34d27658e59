"""The probes of the package, and a record in their form."""

from uddm_lightning.probes import BasinProbe, EntropyProbe, NelboProbe, RecoveryProbe, SampleProbe, TrajectoryProbe
from uddm_lightning.results.declarations import Declarations

KINDS = (RecoveryProbe, TrajectoryProbe, EntropyProbe, NelboProbe, BasinProbe, SampleProbe)
PROBES = [kind() for kind in KINDS]
DECLARED = Declarations(kind.declaration() for kind in KINDS)


def record(kind: str = "recovery", split: str = "train", t: float | None = 0.1, **fields: object) -> dict:
    common = {"run": "r", "backbone": "DiT", "parameters": 3, "train_size": 8, "seed": 0, "step": 10, "weights": "ema"}
    return {**common, "metric": kind, "split": split, "sampler": "ancestral", "sampler_steps": 50, "t": t, **fields}
