"""End a process together with the process that started it."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable


def parent_check() -> Callable[[], bool] | None:
    """Return a function that tells whether the starting process is alive; None if it is not known.

    The starting process is the parent by `multiprocessing`, or else the one whose id is in $UDDM_PARENT.
    """
    parent, pid = multiprocessing.parent_process(), os.environ.get("UDDM_PARENT")
    if parent is not None:
        return parent.is_alive
    return (lambda: os.getppid() == int(pid)) if pid else None


def exit_with_parent(is_alive: Callable[[], bool] | None, seconds: float) -> None:
    """Start a thread that ends this process once the starting process is gone.

    The process ends as if killed: files are written atomically, so none is left incomplete.

    Args:
        is_alive: tells whether the starting process is alive; None does nothing.
        seconds: between two checks.
    """

    def watch(alive: Callable[[], bool]) -> None:
        while alive():
            time.sleep(seconds)
        os._exit(1)

    if is_alive is not None:
        threading.Thread(target=watch, args=(is_alive,), daemon=True).start()
