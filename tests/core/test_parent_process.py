"""A process ends with the process that started it."""

import os
import subprocess
import sys

import pytest

from uddm_lightning.core.parent_process import parent_check

WATCH = """
import time
from uddm_lightning.core.parent_process import exit_with_parent, parent_check
exit_with_parent(parent_check(), 0.05)
print("started", flush=True)
time.sleep(60)
"""


def test_without_a_known_parent_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UDDM_PARENT", raising=False)
    assert parent_check() is None


def test_the_parent_is_the_process_of_that_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDDM_PARENT", str(os.getppid()))
    is_alive = parent_check()
    assert is_alive is not None
    assert is_alive()
    monkeypatch.setenv("UDDM_PARENT", str(os.getpid()))
    is_alive = parent_check()
    assert is_alive is not None
    assert not is_alive()


def test_a_process_whose_parent_is_gone_ends() -> None:
    env = {**os.environ, "UDDM_PARENT": "1234567890"}  # no process has this number
    with subprocess.Popen([sys.executable, "-c", WATCH], env=env, stdout=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 1
