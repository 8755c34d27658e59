"""Import a class by its class path."""

import importlib
from typing import Any


def import_class(class_path: str) -> Any:
    """Return the object that a class path such as `uddm_lightning.backbones.DiT` names.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such name.
    """
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)
