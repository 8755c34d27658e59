"""Imports that take seconds."""

import atexit
import gc
import sys
from importlib import import_module
from types import ModuleType


def import_quickly(name: str) -> ModuleType:
    """Import a module with the garbage collector paused, and return it.

    Importing torch and Lightning makes a million objects, which live until the process ends. Scanning them again and
    again would take a fifth of the time. Later collections leave out all objects that exist after the import; they
    return to the collector when the process ends, because some libraries report objects that are left then.

    Args:
        name: full name of the module. If it is imported already, nothing else happens.
    """
    if name in sys.modules or not gc.isenabled():
        return import_module(name)
    gc.disable()
    try:
        module = import_module(name)
    finally:
        gc.freeze()  # first, or the next collection would scan all of them
        gc.enable()
        atexit.register(gc.unfreeze)
    return module
