"""A SLURM cluster of one node in a temporary folder, with its own key, sockets, ports, state and daemons."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))  # daemons are not on every PATH
DAEMONS = ("slurmd", "slurmctld", "munged")  # in the order of stopping
CPUS = 2
PATIENCE = 60.0  # seconds within which a daemon must answer

CONFIG = """\
ClusterName=uddm
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again; 5 is the least
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here; empty if one can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "a SLURM of its own is started by root only"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"not installed: {', '.join(absent)} (Debian: apt-get install slurm-wlm)" if absent else ""


@contextmanager
def slurm_cluster() -> Iterator[Path]:
    """Start the cluster, set $SLURM_CONF, and yield its folder once the node is idle.

    Raises:
        RuntimeError: the cluster does not start; the message holds the ends of the daemons' logs.
    """
    before = os.environ.get("SLURM_CONF")
    folder = Path(tempfile.mkdtemp(prefix="uddm-slurm-", dir="/tmp"))  # paths of sockets must be short
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(_restore, before)
        ending.callback(_stop, folder)
        os.environ["SLURM_CONF"] = str(_configure(folder))
        _start(folder, "munged", *_munge_arguments(folder))
        _wait_for((folder / "munge.socket").exists, folder)
        _start(folder, "slurmctld", "-c")
        _start(folder, "slurmd")
        _wait_for(_is_idle, folder)
        yield folder


def _configure(folder: Path) -> Path:
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    # a daemon looks for control groups and systemd even if they are unused; version 1 requires the least
    group = "disabled" if _version() >= (23, 2) else "cgroup/v1"
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={group}\n", encoding="utf-8")
    controller_port, node_port = _free_ports(2)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    text = CONFIG.format(folder=folder, host=host, controller_port=controller_port, node_port=node_port, cpus=CPUS)
    config.write_text(text, encoding="utf-8")
    return config


def _program(name: str) -> str:
    program = shutil.which(name, path=PATH)
    assert program is not None, missing()
    return program


def _version() -> tuple[int, int]:
    answer = subprocess.run([_program("slurmd"), "-V"], capture_output=True, text=True, check=True)
    major, minor = answer.stdout.split()[1].split(".")[:2]  # of `slurm 22.05.8`
    return int(major), int(minor)


def _munge_arguments(folder: Path) -> list[str]:
    names = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
    names |= {"log-file": "munged.log", "seed-file": "munge.seed"}
    # --force: the folder is in /tmp, which other users may write to
    return ["--force", *(f"--{option}={folder / name}" for option, name in names.items())]


def _free_ports(number: int) -> list[int]:
    with ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _start(folder: Path, name: str, *arguments: str) -> None:
    """Start the daemons, which detach themselves."""
    with (folder / f"{name}.start").open("wb") as output:  # a pipe would stay open until the daemon ends
        status = subprocess.call([_program(name), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if status:
        raise RuntimeError(f"{name} ended with status {status}\n{_logs(folder)}")


def _is_idle() -> bool:
    answer = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False)
    return answer.stdout.split() == ["idle"]


def _wait_for(condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"SLURM did not come up within {PATIENCE:.0f} s\n{_logs(folder)}")
        time.sleep(0.1)


def _logs(folder: Path) -> str:
    paths = sorted([*folder.glob("*.start"), *folder.glob("*.log")])
    return "\n".join(f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-2000:]}" for path in paths)


def _restore(config: str | None) -> None:
    if config is None:
        os.environ.pop("SLURM_CONF", None)
    else:
        os.environ["SLURM_CONF"] = config


def _stop(folder: Path) -> None:
    """End this cluster's jobs, which would outlive it, then its daemons, by their pid files."""
    if (folder / "slurmd.pid").exists():
        for command in (["scancel", "--user=root"], ["scancel", "--user=root", "--signal=KILL", "--full"]):
            subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        with suppress(RuntimeError):
            _wait_for(_is_idle, folder)
    for name in DAEMONS:
        with suppress(OSError, ValueError):
            _end(int((folder / f"{name}.pid").read_text(encoding="utf-8")), name)


def _end(pid: int, name: str) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_running(pid, name):
            return
        os.kill(pid, number)
        deadline = time.monotonic() + 10
        while _is_running(pid, name) and time.monotonic() < deadline:
            time.sleep(0.05)


def _is_running(pid: int, name: str) -> bool:
    """Return whether the process is still that daemon, because ids are reused and zombies do not run."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return f"Name:\t{name}\n" in status and "State:\tZ" not in status
    return False
