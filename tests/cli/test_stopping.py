"""Messages and exit statuses of commands that end early."""

import errno
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import SIGTERMException

from uddm_lightning.cli.stopping import TERMINATED, report_stop, stop_reason
from uddm_lightning.core.errors import DiskFullError, InputError

SESSION: Any = SimpleNamespace(hint="give the same command again.", folder=Path("runs/a"))


def stop_with(error: BaseException) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True)
    with report_stop(trainer, SESSION):
        raise error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FloatingPointError("The loss is NaN."), FloatingPointError, r"The loss is NaN\. Then give the same command"),
        (DiskFullError("No space."), DiskFullError, r"No space\. Free some space, then give the same command again\."),
        (OSError(errno.ENOSPC, "full"), DiskFullError, r"Cannot write to `runs/a`.* Free some space, then give"),
        (OSError(errno.EACCES, "no"), OSError, "no"),
        (ImportError("pip install rich"), InputError, "pip install rich"),
        (RuntimeError("conditioned on metric `x`"), InputError, "`trainer.callbacks`: conditioned on metric `x`"),
        (RuntimeError("other"), RuntimeError, "^other$"),
    ],
)
def test_errors_say_how_to_continue(error: Exception, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        stop_with(error)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 1), (SIGTERMException(), TERMINATED)])
def test_interrupted_commands_have_an_exit_status(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = threading.excepthook
    with pytest.raises(SystemExit) as stopped:
        stop_with(error)
    assert stopped.value.code == status
    assert capsys.readouterr().err == "uddm: stopped: interrupted; give the same command again.\n"
    assert threading.excepthook is hook


def test_an_exit_of_another_cause_keeps_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        stop_with(SystemExit(3))
    assert stopped.value.code == 3
    assert capsys.readouterr().err == ""


def test_the_callback_that_stopped_the_training_is_named() -> None:
    early = EarlyStopping("loss")
    trainer: Any = SimpleNamespace(early_stopping_callbacks=[early], callbacks=[early])
    assert stop_reason(trainer) == "a callback has asked for it"
    early.stopping_reason_message = "Loss is high. Signaling Trainer to stop."
    assert stop_reason(trainer) == "EarlyStopping: Loss is high."
