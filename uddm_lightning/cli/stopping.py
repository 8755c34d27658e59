"""Messages, exit statuses and reasons of commands that end before their work is done."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from uddm_lightning.core.errors import DiskFullError, InputError, sanitize_message
from uddm_lightning.core.files import filesystem_error, is_disk_full
from uddm_lightning.runs.session import RunSession
from uddm_lightning.training.trainer_access import callbacks_of

TERMINATED = 128 + signal.SIGTERM  # exit status, as a shell reports a program that ended by this signal


@contextmanager
def report_stop(trainer: Trainer, session: RunSession) -> Iterator[None]:
    """Turn what ends the trainer early into one message that says how to continue.

    Raises:
        FloatingPointError: the loss is not finite.
        SystemExit: the process was interrupted or terminated.
        DiskFullError: there is no space left.
        InputError: a callback needs a package that is missing, or a metric that does not exist.
    """
    try:
        with _report_full_disk_once():
            yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} Then {session.hint}") from error
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning turns the former into the latter
        terminated = isinstance(stop, SIGTERMException)
        if not terminated and not isinstance(stop.__context__ or stop, KeyboardInterrupt):
            raise
        if trainer.is_global_zero:
            sys.stderr.write(f"uddm: stopped: interrupted; {session.hint}\n")
        raise SystemExit(TERMINATED if terminated else 1) from stop
    except ImportError as error:  # a callback of Lightning needs a package when it is set up
        raise InputError(sanitize_message(str(error))) from error
    except DiskFullError as error:
        raise DiskFullError(f"{error} Free some space, then {session.hint}") from error
    except OSError as error:  # of TensorBoard's writer, which names no file
        if not is_disk_full(error):
            raise
        message = filesystem_error(f"Cannot write to `{session.folder}`", error, "")
        raise DiskFullError(f"{message} Free some space, then {session.hint}") from error
    except RuntimeError as error:
        if "conditioned on metric" not in str(error):  # of EarlyStopping, see `check_monitors`
            raise
        raise InputError(f"`trainer.callbacks`: {sanitize_message(str(error))}") from error


@contextmanager
def _report_full_disk_once() -> Iterator[None]:
    """TensorBoard writes in a thread and hands the error of a full disk to the main thread, which reports it."""
    report = threading.excepthook
    threading.excepthook = lambda hook: None if is_disk_full(hook.exc_value) else report(hook)
    try:
        yield
    finally:
        threading.excepthook = report


def stop_reason(trainer: Trainer) -> str:
    """Return which callback has stopped the training, in its own words if it has any."""
    for callback in trainer.early_stopping_callbacks:
        if reason := callback.stopping_reason_message:
            return f"{type(callback).__name__}: {reason.removesuffix(' Signaling Trainer to stop.')}"
    timers = [callback for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    spent = [timer for timer in timers if (timer.time_remaining() or 1.0) <= 0.0]
    return "Timer: its time is over" if spent else "a callback has asked for it"
