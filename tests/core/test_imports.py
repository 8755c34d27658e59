"""Imports with the garbage collector paused."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from uddm_lightning.core.imports import import_quickly

MODULE = """
import gc
during = gc.isenabled()
kept = [[] for _ in range(1000)]
"""


def test_the_collector_is_off_during_the_import_and_leaves_its_objects_out(tmp_path, monkeypatch):
    (tmp_path / "made_for_imports.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = gc.get_freeze_count()
    try:
        module = import_quickly("made_for_imports")
        assert not module.during
        assert gc.isenabled()
        frozen = gc.get_freeze_count()
        assert frozen >= before + 1000
        assert import_quickly("made_for_imports") is module
        assert gc.get_freeze_count() == frozen, "a second import freezes nothing"
    finally:
        del sys.modules["made_for_imports"]


def test_the_collector_is_on_after_an_import_that_fails():
    with pytest.raises(ModuleNotFoundError):
        import_quickly("no_such_module_of_the_tests")
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    code = (
        "import gc, sys; gc.disable(); from uddm_lightning.core.imports import import_quickly; "
        "import_quickly('sqlite3'); assert not gc.isenabled(); assert gc.get_freeze_count() == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_objects_return_to_the_collector_at_exit():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); "
        "from uddm_lightning.core.imports import import_quickly; import_quickly('sqlite3'); "
        "assert gc.get_freeze_count() > 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "0\n"
