"""A private Slurm on one host, for tests and by hand.

By hand (as root, or as any one user for his own jobs)::

    export PYTHONPATH=tests
    python -m rigs.slurm.cluster up DIR          # 8 s; a restart with kept state 2 s
    eval "$(python -m rigs.slurm.cluster env DIR)"   # exports SLURM_CONF
    squeue; runuser -u alice -- sbatch ...
    python -m rigs.slurm.cluster down DIR [--remove]

``DIR`` is short and reachable by every test user (not below a 0700 directory).
Any number of rigs run at once: each finds its own ports, munge key and database.

``--cgroups`` makes jobs over their memory end OUT_OF_MEMORY (root, cgroup v1, one
such rig at a time); ``ns-up DIR`` and ``ns-down DIR`` make and end a Slurm with one
network namespace per machine (:mod:`rigs.slurm.machines`).

In a test take the fixture ``slurm`` (one rig per session, emptied of jobs and
repaired of faults after each test), or ``slurm_rig`` for the bare rig::

    def test_it(slurm):
        job = slurm.submit("sleep 60", "-p", "gpu", "--gres=gpu:a100:1", user="alice")
        slurm.wait_state(job, "RUNNING")
        with slurm.stopped("slurmctld"): ...      # also kill, start, restart, repair
        RunnerSettings(environment=slurm.environment)   # SLURM_CONF, for our runners

What it has: nodes n1, n2 (4 a100 each), n3 (2 l40), n4 (no GPU), n5 (down);
partitions cpu (default), gpu, short (10 min), staff (account staff only), broken
(only n5), closed, drain, low/kill/high (preemption); accounts proj (6 GPUs in all)
and staff; QoS normal, interactive (2 jobs, 4 submitted), long; alice in proj and
staff, bob in proj (3 jobs, 5 submitted). Without root there is only one's own
account, in the place of alice. Daemons by name: munged, mariadbd, slurmdbd,
slurmctld, slurmd.n1 … slurmd.n4.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rigs.slurm import machines
from rigs.slurm.daemons import (
    PLAIN,
    Rig,
    RigFailure,
    make_accounts,
    quiet_logins,
    wait_for,
)

NODES = ("n1", "n2", "n3", "n4")
_PORTS = (17, 19, 21, 22, 23, 24, 25, 36)

_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={p17}
SrunPortRange={p100}-{p199}
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={rig}/state/jwt.key
JobAcctGatherType=jobacct_gather/{gather}
JobAcctGatherFrequency=2
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=20
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={p19}
AccountingStoragePass={rig}/munge/s
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu,gres/gpu:a100,gres/gpu:l40
AccountingStoreFlags=job_comment
PriorityType=priority/multifactor
PriorityWeightAge=1000
PriorityWeightQOS=10000
NodeName=DEFAULT CPUs={cpus} RealMemory=64000
NodeName=n1 {at} Port={p21} Gres=gpu:a100:4 Feature=a100,ib
NodeName=n2 {at} Port={p22} Gres=gpu:a100:4 Feature=a100
NodeName=n3 {at} Port={p23} Gres=gpu:l40:2 Feature=l40
NodeName=n4 {at} Port={p24}
NodeName=n5 {at} Port={p25} State=DOWN Reason="no such machine"
PartitionName=DEFAULT DefMemPerCPU=500
PartitionName=cpu    Nodes=n4     Default=YES MaxTime=1-00:00:00 DefaultTime=00:10:00
PartitionName=gpu    Nodes=n[1-3] MaxTime=04:00:00 DefaultTime=00:30:00
PartitionName=short  Nodes=n[1-4] MaxTime=10 DefaultTime=2
PartitionName=staff  Nodes=n4 AllowAccounts=staff
PartitionName=broken Nodes=n5 MaxTime=60
PartitionName=closed Nodes=n4 State=DOWN
PartitionName=drain  Nodes=n4 State=DRAIN
PartitionName=low    Nodes=n4 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=kill   Nodes=n4 PriorityTier=1 PreemptMode=CANCEL
PartitionName=high   Nodes=n4 PriorityTier=10 PreemptMode=OFF
"""

_DBD = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={p19}
SlurmUser={me}
AuthType=auth/munge
AuthInfo=socket={rig}/munge/s
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={p36}
StorageUser=slurm
StoragePass=slurm
StorageLoc=acct
LogFile={rig}/log/slurmdbd
PidFile={rig}/run/own.slurmdbd
"""

_GRANT = (
    "create database if not exists acct;"
    "create user if not exists slurm@'127.0.0.1' identified by 'slurm';"
    "grant all on acct.* to slurm@'127.0.0.1'"
)

# cgroup v1 kills by the kernel's hand, so that jobs end OUT_OF_MEMORY.
_CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=yes\nConstrainRAMSpace=yes\n"
_TRACKED = "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n"
# Otherwise the supervisor looks now and then, and its kill looks like any other.
_WATCHED = PLAIN + "JobAcctGatherParams=OverMemoryKill\n"


class Cluster(Rig):
    """Four slurmd on one host, GPUs, accounting and limits (module docstring).

    Args:
        path: the rig's directory, made if missing.
        base: first of 200 ports, or None to find free ones (kept over restarts).
        gather: ``"linux"`` kills jobs over their memory; ``"none"`` costs nothing,
            for hundreds of jobs.
        cpus: cores that each node claims.
        cgroups: as root on cgroup v1: over-memory jobs end OUT_OF_MEMORY.
        extra: further lines of slurm.conf (``"PrivateData=jobs"``).
    """

    def __init__(
        self,
        path: Path,
        *,
        base: int | None = None,
        gather: str = "linux",
        cpus: int = 64,
        cgroups: bool = False,
        extra: Sequence[str] = (),
    ) -> None:
        super().__init__(path)
        self._base, self._gather, self._cpus = base, gather, cpus
        self._cgroups, self._extra = cgroups, extra

    def prefix(self, name: str) -> Sequence[str]:
        if not self.root or name.partition(".")[0] != "slurmd":
            return ()
        inside = quiet_logins() + 'exec "$@"'
        # What a test mounts over a home is seen by jobs as well.
        apart = ["unshare", "--mount", "--propagation", "slave"]
        return [*apart, "sh", "-c", inside, "sh"]

    def daemons(self) -> dict[str, list[str]]:
        rig, base = self.path, self.base
        database = [
            "mariadbd",
            "--no-defaults",
            f"--user={self.me}",
            f"--datadir={rig}/db",
            f"--socket={rig}/run/db.sock",
            f"--pid-file={rig}/run/own.mariadbd",
            f"--port={base + 36}",
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-lock-wait-timeout=900",
        ]
        return {
            "munged": self.munged_argv(),
            "mariadbd": database,
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
            **{f"slurmd.{node}": ["slurmd", "-D", "-N", node] for node in NODES},
        }

    @property
    def base(self) -> int:
        """The first of this rig's ports; found once and kept in the directory."""
        note = self.path / "run/base"
        if self._base is None:
            self._base = int(note.read_text()) if note.exists() else _free_base()
        note.write_text(str(self._base))
        return self._base

    def up(self) -> Cluster:
        """Start everything and return when jobs can run. Prints lap times."""
        if self.root:
            make_accounts()
        self.make_directories("dev", "db", *(f"run/spool.{node}" for node in NODES))
        self._write_files()
        self.start("munged")
        self._start_database()
        self.lap("mariadbd")
        self.start("slurmdbd")
        listing = ("sacctmgr", "-nP", "list", "cluster", "format=cluster")
        wait_for(lambda: self.run(listing).returncode == 0, 30, "slurmdbd")
        if "lab" not in self.admin(*listing):
            self.admin("sacctmgr", "-iQ", "add", "cluster", "lab")
        self.lap("slurmdbd")
        self.start("slurmctld")
        for node in NODES:
            self.start(f"slurmd.{node}")
        self.wait_up()
        self.lap("slurmctld, 4 slurmd")
        # After slurmctld: it registers gres/gpu, which the limits name.
        self._add_accounts()
        self.lap("accounts")
        return self

    def wait_up(self, timeout: float = 180) -> None:
        self.wait_nodes(len(NODES), timeout)

    def _write_files(self) -> None:
        facts = {f"p{n}": self.base + n for n in (*_PORTS, 100, 199)}
        host = socket.gethostname().partition(".")[0]
        at = f"NodeAddr=127.0.0.1 NodeHostname={host}"
        facts |= {"host": host, "at": at, "rig": self.path, "me": self.me}
        facts |= {"gather": self._gather, "cpus": self._cpus}
        kind = _TRACKED if self._cgroups else _WATCHED
        extra = "".join(f"{line}\n" for line in self._extra)
        conf = self.common_conf() + kind + _CONF.format(**facts) + extra
        (self.path / "slurm.conf").write_text(conf)
        (self.path / "cgroup.conf").write_text(_CGROUP)
        a100, l40 = self._devices()
        gres = f"NodeName=n[1-2] Name=gpu Type=a100 File={a100}[0-3]\n"
        gres += f"NodeName=n3 Name=gpu Type=l40 File={l40}[0-1]\n"
        (self.path / "gres.conf").write_text("AutoDetect=off\n" + gres)
        dbd, jwt = self.path / "slurmdbd.conf", self.path / "state/jwt.key"
        for secret in (dbd, jwt):
            if not secret.exists():
                secret.touch(0o600)
        dbd.write_text(_DBD.format(**facts))
        if not jwt.stat().st_size:
            jwt.write_bytes(secrets.token_bytes(32))

    def _devices(self) -> tuple[str, str]:
        # A plain file would be scheduled, but give no CUDA_VISIBLE_DEVICES.
        if not self.root:
            return "/dev/tty", "/dev/tty"
        for name in [f"a100_{i}" for i in range(4)] + ["l40_0", "l40_1"]:
            device = self.path / "dev" / name
            if not device.exists():
                os.mknod(device, 0o020666, os.makedev(1, 3))
        return f"{self.path}/dev/a100_", f"{self.path}/dev/l40_"

    def _start_database(self) -> None:
        if not (self.path / "db/mysql").is_dir():
            argv = ["mariadb-install-db", "--no-defaults", f"--user={self.me}"]
            argv += [f"--datadir={self.path}/db", "--skip-test-db"]
            self.admin(*argv, "--auth-root-authentication-method=normal")
        self.start("mariadbd")
        sql = ["mariadb", "--no-defaults", "-u", "root"]
        sql += ["-S", f"{self.path}/run/db.sock"]
        ready = [*sql, "-e", "select 1"]
        wait_for(lambda: self.run(ready).returncode == 0, 60, "mariadbd")
        self.admin(*sql, "-e", _GRANT)

    def _add_accounts(self) -> None:
        first = self.users[0]
        if self.admin("sacctmgr", "-nP", "list", "user", first):
            return
        limits = "MaxJobsPerUser=2 MaxSubmitJobsPerUser=4 Priority=100"
        full = f"user {first} account=proj DefaultAccount=proj"
        few = "account=proj DefaultAccount=proj MaxJobs=3 MaxSubmitJobs=5 QOS=normal"
        lines = [
            f"add qos interactive set {limits}",
            "add qos long set Priority=1",
            "add account proj GrpTRES=gres/gpu=6",
            "add account staff",
            f"add {full} QOS=normal,interactive,long DefaultQOS=normal",
            f"add user {first} account=staff",
            *(f"add user {name} {few}" for name in self.users[1:]),
        ]
        for line in lines:
            self.admin("sacctmgr", "-iQ", *line.split())

    def down(self) -> None:
        super().down()
        if not self._cgroups:
            return
        # A group is a directory that only rmdir removes, its children first.
        tops = [
            top
            for node in NODES
            for top in Path("/sys/fs/cgroup").glob(f"*/slurm_{node}")
        ]
        for top in tops:
            for group, _, _ in os.walk(top, topdown=False):
                Path(group).rmdir()


def _free_base() -> int:
    """Find 200 ports below the ephemeral range of which all fixed ones are free."""
    for base in random.sample(range(20000, 32600, 200), 63):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for offset in _PORTS:
                probe = stack.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", base + offset))
            return base
    raise RigFailure("no free range of ports")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``rigs.slurm.cluster up|down|env|ns-up|ns-down DIR``."""
    parser = argparse.ArgumentParser(description="A private Slurm on one host.")
    parser.add_argument("verb", choices=["up", "down", "env", "ns-up", "ns-down"])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--base", type=int, help="first of 200 ports")
    parser.add_argument("--gather", choices=["none", "linux"], default="linux")
    parser.add_argument("--cpus", type=int, default=64, help="cores per node")
    parser.add_argument("--cgroups", action="store_true", help="true OUT_OF_MEMORY")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--remove", action="store_true", help="down: delete DIR too")
    chosen = parser.parse_args(arguments)
    rig: Rig
    if chosen.verb.startswith("ns-"):
        rig = machines.Machines(chosen.dir)
    else:
        rig = Cluster(
            chosen.dir,
            base=chosen.base,
            gather=chosen.gather,
            cpus=chosen.cpus,
            cgroups=chosen.cgroups,
            extra=chosen.set,
        )
    if chosen.verb == "env":
        print(*(f"export {k}={v}" for k, v in rig.environment.items()), sep="\n")
        return 0
    try:
        rig.up() if chosen.verb.endswith("up") else rig.down()
    except (RigFailure, subprocess.TimeoutExpired) as error:
        print(f"{error}; see {rig.path}/log", file=sys.stderr)
        return 1
    if chosen.remove:
        shutil.rmtree(rig.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
