"""The package executes no text as code, loads files as plain data, and opens no network connections."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversarial.conftest import Home

PACKAGE = Path(__file__).parents[2] / "uddm_lightning"
FILES = sorted(PACKAGE.rglob("*.py"))

# names that run text as code, unpickle bytes or start a shell
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_CALLS = {
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "dill.load",
    "joblib.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
}
NETWORK = {"socket", "ssl", "http", "urllib", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "huggingface_hub"}
# `uddm preflight` only asks the hub for sizes and configs; `uddm export --push` uploads, and `uddm convert
# OWNER/NAME` downloads; a tokenizer by a hub name is looked up once before it is loaded
ASKS_THE_HUB = {
    *(PACKAGE / "preflight" / name for name in ("requirements.py", "hub.py")),
    PACKAGE / "interop" / "export.py",
    PACKAGE / "interop" / "download.py",
    PACKAGE / "interop" / "preflight.py",
    PACKAGE / "data" / "tokenizers" / "pretrained.py",
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def offences(source: str) -> Iterator[str]:
    """Return the forbidden names of a file with their lines."""
    for node in ast.walk(ast.parse(source)):
        place = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [alias.name for alias in node.names]
            if NETWORK & {name.split(".")[0] for name in ([module] if module else names)}:
                yield f"{place}: imports {module or names}"
            yield from (f"{place}: imports {module}.{name}" for name in names if f"{module}.{name}" in FORBIDDEN_CALLS)
        if not isinstance(node, ast.Call):
            continue
        name, keywords = dotted(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in FORBIDDEN_NAMES or name in FORBIDDEN_CALLS:
            yield f"{place}: {name}"
        if keywords.get("shell", "False") != "False":
            yield f"{place}: {name} through a shell"
        if keywords.get("allow_pickle", "False") != "False":
            yield f"{place}: {name} with pickles"
        if keywords.get("trust_remote_code", "False") != "False":
            name = f"{name}({keywords['trust_remote_code']})"
            yield f"{place}: {name} with code from elsewhere"
        if name.startswith("torch.") and name.endswith(".load") and keywords.get("weights_only") != "True":
            yield f"{place}: {name} of more than data"
        if keywords.get("weights_only", "True") != "True":
            yield f"{place}: {name} of more than data"


# The value of `--trust-remote-code`, which is off unless a user types it.
TRUSTS = {PACKAGE / "interop" / name for name in ("pretrained.py", "pretrained_backbone.py")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_runs_text_or_unpickles_objects(path: Path) -> None:
    found = list(offences(path.read_text(encoding="utf-8")))
    known = ["huggingface_hub"] if path in ASKS_THE_HUB else ["(trust_remote_code)"] if path in TRUSTS else []
    assert [offence for offence in found if not any(part in offence for part in known)] == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text, {})",
        "compile(text, '', 'exec')",
        "import os\nos.system('ls')",
        "from pickle import loads",
        "pickle.load(stream)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "subprocess.run('ls', shell=True)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "trainer.fit(model, weights_only=False)",
        "import urllib.request",
        "from socket import create_connection",
        "load_dataset(path, trust_remote_code=True)",
    ],
)
def test_forbidden_names_are_found(source: str) -> None:
    assert list(offences(source))


def test_allowed_names_are_accepted() -> None:
    source = (
        "re.compile('a'); model.compile(); torch.load(path, weights_only=True); np.load(path); yaml.safe_load(text)"
    )
    assert list(offences(source)) == []


# A connection to another machine or a lookup of an address ends the program.
ALONE = """
import os, socket, sys
def refuse(*arguments, **more):
    os.write(2, b"NETWORK\\n")
    os._exit(97)
def connect(self, address, real=socket.socket.connect):
    return real(self, address) if self.family == socket.AF_UNIX else refuse()
socket.socket.connect = socket.socket.connect_ex = connect
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
import torch
torch.set_num_threads(1)
from uddm_lightning.cli.main import main
for arguments in eval(sys.argv[1]):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    if status:
        sys.exit(status)
sys.stdout.write("ALONE\\n")
"""


def alone(home: Home, *commands: list[str], code: str = ALONE) -> subprocess.CompletedProcess[str]:
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}  # as for a user
    command = [sys.executable, "-c", code, repr(commands)]
    return subprocess.run(command, cwd=home.folder, env=online, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_command_opens_a_connection(home: Home) -> None:
    run = ["fit", "-c", str(home.folder / "tiny.yaml"), "--out", str(home.folder / "alone")]
    again = ["validate", "-c", str(home.config), "--ckpt_path", str(home.checkpoint)]
    done = alone(home, ["--help"], ["fit", "--help"], run, again)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ALONE" in done.stdout
    assert "NETWORK" not in done.stderr


def test_a_connection_would_be_detected(home: Home) -> None:
    for call in ("socket.create_connection(('localhost', 9))", "socket.socket().connect(('127.0.0.1', 9))"):
        done = alone(home, code=ALONE.replace("import torch\n", call + "\n"))
        assert done.returncode == 97
        assert "NETWORK" in done.stderr
