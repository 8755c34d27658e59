"""Classes by their class path."""

import pytest

from uddm_lightning.backbones import DiT
from uddm_lightning.core.class_path import import_class


def test_a_class_path_names_a_class() -> None:
    assert import_class("uddm_lightning.backbones.DiT") is DiT
    with pytest.raises(ImportError):
        import_class("uddm_lightning.nothing.DiT")
    with pytest.raises(AttributeError):
        import_class("uddm_lightning.backbones.Nothing")
