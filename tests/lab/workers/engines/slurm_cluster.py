"""A private Slurm cluster on this machine: munged, slurmctld and two slurmd in one folder, on ports of their own."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from ablation import PATIENCE, wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
NODES = ("n1", "n2")
CONFIG = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1
MinJobAge=300
KillWait=20
MpiDefault=none
ReturnToService=1
{nodes}
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm and munge that this machine lacks."""
    return [program for program in PROGRAMS if _program(program) is None]


class SlurmCluster:
    """`with SlurmCluster(folder) as cluster`; programs that get `cluster.environment` talk to it and to no other."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmCluster":
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        controller, *ports = _free_ports(1 + len(NODES))
        nodes = [
            f"NodeName={node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} CPUs=1"
            for node, port in zip(NODES, ports, strict=True)
        ]
        settings = {"port": controller, "user": getpass.getuser(), "folder": self.folder, "nodes": "\n".join(nodes)}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**settings))
        munge = {"key-file": key} | {name: self.folder / f"munge.{name}" for name in ("socket", "pid-file", "log-file")}
        seed = self.folder / "munge.seed"
        # --force: the folder lies under one that others may write to, such as /tmp
        self._start("munged", "-F", "--force", f"--seed-file={seed}", *(f"--{name}={at}" for name, at in munge.items()))
        wait_for("munge socket", (self.folder / "munge.socket").exists)
        self._start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        try:
            wait_for("idle nodes", lambda: self.ask("sinfo", "--noheader", "--format=%D %t") == "2 idle")
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f"{error}: {self.said()}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("scancel", f"--user={getpass.getuser()}")
        for name in reversed(list(self.daemons)):
            self._end(name, signal.SIGTERM)
        for job in self._jobs_of(*NODES):
            _kill(job)

    def start_node(self, node: str) -> None:
        # The variable marks the daemon and the step daemons that it starts, as Slurm marks the jobs themselves.
        self._start("slurmd", "-D", "-N", node, name=node, SLURMD_NODENAME=node)

    def lose_node(self, node: str) -> None:
        """As when a machine loses power: its daemon and all that ran on it are gone at once, and Slurm is told so."""
        jobs = self._jobs_of(node)
        self._end(node, signal.SIGKILL)
        for job in jobs:
            _kill(job)
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def ask(self, *words: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        return (done.stdout + done.stderr).strip()

    def said(self) -> str:
        """The logs, for a failure's message."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def _start(self, program: str, *words: str, name: str | None = None, **marks: str) -> None:
        path = _program(program)
        assert path is not None, program
        with (self.folder / f"{name or program}.out.log").open("ab") as out:
            self.daemons[name or program] = subprocess.Popen(
                [path, *words], env=self.environment | marks, stdout=out, stderr=out, start_new_session=True
            )

    def _end(self, name: str, number: signal.Signals) -> None:
        daemon = self.daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _jobs_of(self, *nodes: str) -> list[int]:
        """Processes of the jobs on these nodes, step daemons too: their environment names the node and this cluster."""
        marks = [{f"SLURM_CONF={self.folder}/slurm.conf", f"SLURMD_NODENAME={node}"} for node in nodes]
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                held = set((entry / "environ").read_bytes().decode(errors="replace").split("\0"))
            except OSError:
                continue
            if any(mark <= held for mark in marks):
                found.append(int(entry.name))
        return found


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
