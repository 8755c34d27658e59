"""A process that ends without freeing its objects still does what it registered, flushes, and gives its status."""

import subprocess
import sys
from pathlib import Path

import pytest

START = "import atexit, sys, threading, time\nfrom uddm_lightning.core.process_exit import exit_quickly\n"
FREED = """
class Freed:
    def __del__(self): print("freed", flush=True)
kept = Freed()
"""
REGISTERED = "atexit.register(print, 'registered')\n"
THREAD = "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()\n"
GROUP = """
import types
sys.modules["torch.distributed"] = types.SimpleNamespace(is_initialized=lambda: True)
"""


def ended(code: str) -> tuple[int, str, str]:
    """Return status, output and errors of a process that runs `code`."""
    command, here = [sys.executable, "-c", code], Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FREED + REGISTERED + "print('last', end=' ')\n", "last registered\n"),
        (FREED + THREAD, "thread\nfreed\n"),  # in Python's usual way
        (FREED + GROUP, "freed\n"),
        ("sys.stdout.close()\n", ""),
    ],
)
def test_the_end_of_a_process(code: str, said: str) -> None:
    assert ended(f"{START}{code}exit_quickly(3)") == (3, said, "")


def test_the_command_ends_so() -> None:
    code = "import atexit; atexit.register(print, 'registered'); from uddm_lightning.__main__ import main; "
    code += "import os; left = os._exit; os._exit = lambda status: (print('quick', flush=True), left(status)); "
    status, said, _ = ended(f"{code}main(['--version'])")
    assert (status, said.splitlines()[1:]) == (0, ["registered", "quick"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is a part of Linux")
def test_output_that_is_lost_is_no_success() -> None:
    here = Path(__file__).parents[2]
    for command, wanted in ((["configs", "quickstart"], 1), (["--version"], 1), (["configs", "no-config"], 2)):
        with open("/dev/full", "w", encoding="utf-8") as full:
            line = [sys.executable, "-m", "uddm_lightning", *command]
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=here)
        assert done.returncode == wanted
        assert ("a part of the output could not be written: No space left" in done.stderr) == (wanted == 1)
