"""The end of a process."""

import atexit
import os
import sys
import threading
from typing import NoReturn


def exit_quickly(status: int) -> NoReturn:
    """End the process without freeing its objects, which takes a second after torch and Lightning were imported.

    Functions that are registered with `atexit` run, and both streams are flushed, as at the end of every program. A
    process that waits for other threads, that belongs to a group of processes, or whose output cannot be written ends
    in Python's usual way.

    Args:
        status: exit status.
    """
    waits = any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread())
    group = getattr(sys.modules.get("torch.distributed"), "is_initialized", bool)
    if waits or group():
        sys.exit(status)
    atexit._run_exitfuncs()  # there is no public function for it
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # no disk space left, closed pipe, closed file
        sys.exit(status)
    os._exit(status)
