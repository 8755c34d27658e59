"""Stop a run when it begins to memorize its training rows."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.callbacks.measurements import probes
from uddm_lightning.callbacks.validation_steps import ValidationSteps
from uddm_lightning.core.errors import InputError, check_at_least, check_within
from uddm_lightning.probes import NelboProbe, RecoveryProbe
from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import Point
from uddm_lightning.results.reference import TOLERANCE, reference
from uddm_lightning.training.trainer_access import data_of

_LAST = 2**32  # no run has more steps


class StopBeforeMemorizing(EarlyStopping):
    """Stops a run at the first validation that shows one of two signs of memorization.

    1. The whole 95 % interval of the gap, train minus test recovery at the t nearest to 0.1, lies above the tolerance.
    2. The NELBO of test rows, which are the same at every validation, lies more than `rise` above its smallest value.

    A small subset is memorized before the chain restores any of its rows; the second sign comes first then. A large one
    is memorized while the test NELBO still falls; the first sign comes first then. The interval of the gap must
    therefore be narrow. The callback measures recovery at that t on `num_rows` rows of each split, and the NELBO on a
    quarter of them, if the probes would measure fewer during training. It validates at `first_step`, then each time
    after `growth` times as many steps. Without the NELBO, only the first sign counts.

    Args:
        tolerance: largest gap that counts as 0, in (0, 1).
        rise: largest rise of the NELBO that counts as 0, in nats, above 0.
        first_step: first optimizer step after which to validate, at least 1.
        growth: ratio of successive steps, in (1, 2].
        num_rows: rows to draw from each split at these validations, at least 1 and at most `data.num_train_rows` and
            `data.num_test_rows`. With 256 rows a gap below about 0.06 is not surely above 0.02.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        tolerance: float = TOLERANCE,
        rise: float = 0.02,
        first_step: int = 20,
        growth: float = 1.15,
        num_rows: int = 1024,
    ) -> None:
        check_within("(0, 1)", tolerance=tolerance)
        check_within("(0, inf)", rise=rise)
        check_at_least(1, first_step=first_step, num_rows=num_rows)
        check_within("(1, 2]", growth=growth)
        # no scalar to monitor: the gap has an interval
        super().__init__(monitor=None, check_on_train_epoch_end=False)  # type: ignore[arg-type]  # see above
        self.tolerance, self.rise, self.num_rows = tolerance, rise, num_rows
        steps = [first_step]
        while steps[-1] < _LAST:
            steps.append(max(steps[-1] + 1, round(steps[-1] * growth)))
        self.validations = ValidationSteps(steps)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        probe = _recovery(trainer)
        if probe is None or not probe.enabled or probe.num_rows_during_training == 0:
            raise InputError(
                "`trainer.callbacks`: StopBeforeMemorizing compares recovery of train and test rows during training: "
                "set `--recovery.enabled true --recovery.num_rows_during_training 32`."
            )
        data = data_of(trainer)
        for key in ("num_train_rows", "num_test_rows"):
            if (number := getattr(data, key)) < self.num_rows:
                raise InputError(
                    f"`trainer.callbacks`: StopBeforeMemorizing measures {self.num_rows} rows, its `num_rows`, and "
                    f"`data.{key}` is {number}: set `--data.{key} {self.num_rows}` or `--trainer.callbacks.num_rows "
                    f"{number}`."
                )
        probe.num_reference_rows_during_training = max(self.num_rows, probe.num_rows_during_training or 0)
        for other in probes(trainer):
            if isinstance(other, NelboProbe) and other.num_rows_during_training is not None:
                # its rows and noise are the same at every validation, so a change needs fewer rows than a level
                other.num_rows_during_training = max(-(-self.num_rows // 4), other.num_rows_during_training)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations.on_train_start(trainer, pl_module)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.validations.on_train_batch_start(trainer, pl_module, batch, batch_idx)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations.on_validation_end(trainer, pl_module)
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if reason := self._gap(trainer) or self._nelbo(trainer):
            trainer.should_stop = True  # every rank has the same records
            self.stopping_reason_message = reason

    def _gap(self, trainer: Trainer) -> str:
        """Return a clause about the gap; "" if its interval does not lie above the tolerance."""
        probe = _recovery(trainer)
        t = reference(probe.times) if probe else None
        mine = [one for one in probe.records if one["t"] == t and one["weights"] == probe.weights[0]] if probe else []
        ends = ("recovery", "recovery_low", "recovery_high")
        cells = {(str(one["split"]), 0, 0): Point(0, 0, *(one[end] for end in ends)).interval for one in mine}
        panel, signs = Panel(cells, {}), {"train": 1.0, "test": -1.0}
        for gap in map(panel.sum, panel.weights(signs, 0)):
            if gap.low > self.tolerance:
                return (
                    f"train minus test recovery at t = {t:g} is {gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}), "
                    f"wholly above {self.tolerance:g}"
                )
        return ""

    def _nelbo(self, trainer: Trainer) -> str:
        """Return a clause about the rise of the test NELBO; "" if it is at most `rise`."""
        for probe in probes(trainer):
            for record in probe.records:
                about = (record["metric"], record["split"], record["weights"])
                if about == ("nelbo", "test", probe.weights[0]):
                    value, least = float(record["nelbo"]), float(self.best_score)
                    if value > least + self.rise:
                        return f"the test NELBO is {value:.3f} nats, {value - least:.3f} above its smallest value"
                    self.best_score = torch.tensor(min(value, least))  # Lightning's class saves it
        return ""


def _recovery(trainer: Trainer) -> RecoveryProbe | None:
    return next((probe for probe in probes(trainer) if isinstance(probe, RecoveryProbe)), None)
