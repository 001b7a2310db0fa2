"""A SLURM of one node on loopback, from Debian's packages, for as long as this program's standard input is open.

`python tests/sweeps/one_node_slurm.py FOLDER` keeps everything it writes in FOLDER and prints `ready` once the node
takes jobs, or why it cannot. Then `SLURM_CONF=FOLDER/slurm.conf sbatch …` works. As root: `apt-get install slurm-wlm`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel", "scontrol")
PATIENCE = 30  # seconds until the node must be there
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=20
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def obstacle() -> str | None:
    """Return why there can be no SLURM here; None where nothing speaks against it."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a SLURM of its own needs Linux and root"
    return f"no {', '.join(missing)}: apt-get install slurm-wlm munge" if missing else None


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Run the daemons while the context lasts.

    Raises:
        RuntimeError: they did not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    conf = CONF.format(host=host, folder=folder, ports=free_ports(2), cpus=len(os.sched_getaffinity(0)))
    (folder / "slurm.conf").write_text(conf)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    own = [f"--{option}={folder}/munge.{ending}" for option, ending in munge.items()]
    commands = [["munged", "--foreground", "--force", *own], ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=die_with_parent))
            if command[0] == "munged":
                await_(lambda: (folder / "munge.socket").exists(), "munged", folder)
        await_(lambda: "idle" in answer("sinfo", "--noheader", "--format=%T"), "the node", folder)
        yield
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            end_jobs()
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def end_jobs() -> None:
    """Cancel what is left in the queue and wait until it is gone, for its processes outlive the daemons."""
    if answer("squeue", "--noheader"):
        subprocess.run(["scancel", "--signal=KILL", "--full", "--user=root"], timeout=10, check=False)
        subprocess.run(["scancel", "--user=root"], timeout=10, check=False)
    end = time.monotonic() + 15
    while answer("squeue", "--noheader") and time.monotonic() < end:
        time.sleep(0.2)


def await_(condition: object, what: str, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            said = [path.read_text(errors="replace")[-500:] for path in (*folder.glob("*.out"), *folder.glob("*.log"))]
            raise RuntimeError(f"{what} did not come up in {PATIENCE} s: " + " ".join(said))
        time.sleep(0.1)


def answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def die_with_parent() -> None:
    """In the new process: ask the kernel (PR_SET_PDEATHSIG) to end it if this program is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    reason = obstacle()
    if reason is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the tests; their end closes the standard input
        try:
            with slurm(Path(sys.argv[1]).resolve()):
                print("ready", flush=True)
                sys.stdin.read()
                return
        except RuntimeError as error:
            reason = str(error)
    print(" ".join(reason.split()), flush=True)


if __name__ == "__main__":
    main()
