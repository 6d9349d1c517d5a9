"""Daemons of a private Slurm: started, faulted, stopped; nothing outside one directory.

:class:`Rig` is what one-host clusters (:mod:`rigs.slurm.cluster`) and
namespaced machines (:mod:`rigs.slurm.machines`) share. It speaks to daemons by process
id, never by name, so that several rigs and a site's own Slurm can run side by side.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ACCOUNTS = {"alice": 1001, "bob": 1002}
"""Users whose jobs a rig can run when it runs as root, with their preferred uids."""

SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

COMMON = """\
SlurmUser={me}
SlurmdUser={me}
AuthType=auth/munge
AuthInfo=socket={rig}/munge/s
StateSaveLocation={rig}/state
SlurmdSpoolDir={rig}/run/spool.%n
SlurmctldPidFile={rig}/run/own.slurmctld
SlurmdPidFile={rig}/run/own.slurmd.%n
SlurmctldLogFile={rig}/log/slurmctld
SlurmdLogFile={rig}/log/slurmd.%n
SlurmdParameters=config_overrides
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=2
MessageTimeout=10
KillWait=5
MinJobAge=30
"""

PLAIN = "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"


class RigFailure(RuntimeError):
    """A daemon did not come up, or a command of the rig's own failed."""


def wait_for(
    fact: Callable[[], object], timeout: float = 30, what: str = "", every: float = 0.05
) -> object:
    """Return the first true answer of ``fact``; RigFailure after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while not (answer := fact()):
        if time.monotonic() > deadline:
            raise RigFailure(f"gave up after {timeout} s: {what or fact}")
        time.sleep(every)
    return answer


class Rig:
    """A directory with a Slurm in it.

    Attributes:
        path: the directory. Its parents must be open to all users (0755), and it
            must be short: sockets in it have paths of at most 107 bytes.
        users: login names whose jobs can run here; the first is a plain user.
        environment: what a client needs: ``SLURM_CONF`` alone.
        munge_socket: the socket of this rig's own munged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.me = pwd.getpwuid(os.geteuid()).pw_name
        self.root = os.geteuid() == 0
        self.users: tuple[str, ...] = tuple(ACCOUNTS) if self.root else (self.me,)
        self.environment = {"SLURM_CONF": f"{self.path}/slurm.conf"}
        self.munge_socket = f"{self.path}/munge/s"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._began = time.monotonic()

    # -- what subclasses say --------------------------------------------------

    def daemons(self) -> Mapping[str, Sequence[str]]:
        """Return name to argv, in the order of starting. Names are for faults."""
        raise NotImplementedError

    def prefix(self, name: str) -> Sequence[str]:
        """Return what to put before the argv of ``name``, e.g. a namespace."""
        return ()

    # -- files ----------------------------------------------------------------

    def make_directories(self, *names: str) -> None:
        """Make the rig's folders: 0755, except ``job``, where every user writes."""
        for name in ("log", "run", "state", "munge", "job", *names):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o755)
        (self.path / "munge").chmod(0o755)
        (self.path / "job").chmod(0o1777)
        key = self.path / "munge/key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(secrets.token_bytes(1024))
            key.chmod(0o400)

    def common_conf(self) -> str:
        """Return the settings that every rig shares, as text of slurm.conf."""
        return COMMON.format(me=self.me, rig=self.path)

    def munged_argv(self) -> list[str]:
        """Return the command of this rig's munged: own key, own socket."""
        d = f"{self.path}/munge"
        log = f"--log-file={self.path}/log/munged"
        files = [f"--key-file={d}/key", f"--socket={d}/s", f"--pid-file={d}/pid", log]
        return ["munged", "--foreground", "--force", *files, f"--seed-file={d}/seed"]

    # -- daemons and their faults ---------------------------------------------

    def pid(self, name: str) -> int | None:
        """Return the process id of a daemon that lives (a zombie does not)."""
        child = self._children.get(name)
        if child is not None:  # the mark below is not there yet while it starts
            return child.pid if child.poll() is None else None
        try:
            pid = int((self.path / f"run/{name}.pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            mine = self._mark in Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        except PermissionError:  # munged makes itself unreadable to its own user
            mine = True
        return pid if mine and state != "Z" else None

    @property
    def _mark(self) -> bytes:
        return f"SLURM_CONF={self.path}/slurm.conf\0".encode()

    def start(self, name: str) -> None:
        """Start a daemon unless it lives; returns when the process exists."""
        if self.pid(name) is not None:
            return
        if (dead := self._children.pop(name, None)) is not None:
            dead.wait(10)
        argv = [*self.prefix(name), *self.daemons()[name]]
        environment = {"PATH": SEARCH, "LC_ALL": "C.UTF-8", **self.environment}
        with (self.path / "log/out").open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._children[name] = child
        (self.path / f"run/{name}.pid").write_text(str(child.pid))

    def stop(self, name: str) -> None:
        """SIGSTOP: the daemon is there and answers nobody."""
        self._signal(name, signal.SIGSTOP)

    def cont(self, name: str) -> None:
        """SIGCONT: it goes on where it was, with what clients sent meanwhile."""
        self._signal(name, signal.SIGCONT)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash; returns when it is gone. ``start`` brings it back."""
        self._signal(name, signal.SIGKILL)
        wait_for(lambda: self.pid(name) is None, 10, f"{name} dead")

    def terminate(self, name: str) -> None:
        """SIGTERM, as an orderly stop (state saved); SIGKILL after 20 s."""
        if self.pid(name) is None:
            return
        self._signal(name, signal.SIGCONT)
        self._signal(name, signal.SIGTERM)
        try:
            wait_for(lambda: self.pid(name) is None, 20, f"{name} ended")
        except RigFailure:
            self.kill(name)

    def restart(self, name: str, *, crash: bool = False) -> None:
        """Stop (or crash) a daemon and start it again."""
        self.kill(name) if crash else self.terminate(name)
        self.start(name)

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """SIGSTOP for the length of a block."""
        self.stop(name)
        try:
            yield
        finally:
            self.cont(name)

    def repair(self) -> None:
        """Undo faults: continue what is stopped, start what is dead, wait."""
        for name in self.daemons():
            if self.pid(name) is None:
                self.start(name)
            else:
                self.cont(name)
        self.wait_up()

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self.pid(name)
        if pid is None:
            raise RigFailure(f"{name} does not run")
        os.kill(pid, number)

    # -- clients --------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
        cwd: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client as ``user`` (None: the rig's own account); never raises on rc.

        It sees PATH, HOME, USER, SLURM_CONF and ``env``, nothing of ours.
        """
        account = pwd.getpwnam(user or self.me)
        become: dict[str, object] = {}
        if account.pw_uid != os.geteuid():
            groups = os.getgrouplist(account.pw_name, account.pw_gid)
            become = {"user": account.pw_uid, "group": account.pw_gid}
            become["extra_groups"] = groups
        home = {"HOME": account.pw_dir, "USER": account.pw_name, "PATH": SEARCH}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [str(item) for item in argv],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            env={**home, **self.environment, **(env or {})},
            timeout=timeout,
            cwd=cwd or self.path / "job",
            check=False,
            **become,
        )

    def admin(self, *argv: str) -> str:
        """Run a client as Slurm's administrator; its output, RigFailure on rc."""
        done = self.run(argv)
        if done.returncode:
            raise RigFailure(f"{' '.join(argv)}: {done.stderr or done.stdout}")
        return done.stdout

    def submit(self, script: str, *options: str, user: str | None = None) -> str:
        """Submit ``script`` (its ``#!/bin/sh`` line is added) and return the id."""
        user = user or self.users[0]
        argv = ["sbatch", "--parsable", "--mem=10", "--export=NIL", *options]
        done = self.run(argv, user=user, stdin=f"#!/bin/sh\n{script}\n")
        if done.returncode:
            raise RigFailure(f"sbatch as {user}: {done.stderr}")
        return done.stdout.strip().partition(";")[0]

    def squeue(self, fields: str = "%A|%u|%T|%r|%N", *options: str) -> list[list[str]]:
        """Return the queue (ended jobs too: ``-t all``) as rows of fields."""
        text = self.admin("squeue", "-h", "-r", "-t", "all", "-o", fields, *options)
        return [line.split("|") for line in text.splitlines()]

    def state(self, job: str) -> str:
        """Return the state word of a job, or ``""`` when the queue forgot it."""
        return next((row[1] for row in self.squeue("%A|%T") if row[0] == job), "")

    def wait_state(self, job: str, *states: str, timeout: float = 30) -> str:
        """Wait until the job is in one of ``states``; return which."""
        what = f"job {job} in {states}"
        try:
            fact = wait_for(
                lambda: (s := self.state(job)) in states and s, timeout, what
            )
        except RigFailure as failure:
            raise RigFailure(f"{failure}\n{self.account_of(job)}") from None
        return str(fact)

    def account_of(self, job: str) -> str:
        """Return what the controller and its log say of a job, for a person."""
        shown = self.run(["scontrol", "show", "job", job])
        log = (self.path / "log/slurmctld").read_text(errors="replace")
        return f"{shown.stdout}{shown.stderr}{log[-3000:]}"

    def clear_jobs(self, timeout: float = 40) -> None:
        """Cancel every job and wait until none is left in the queue or on a node."""

        def live() -> list[str]:
            text = self.admin("squeue", "-h", "-o", "%A")
            return sorted(set(text.split()))

        if jobs := live():
            self.run(["scancel", *jobs])
            wait_for(lambda: not live(), timeout, "an empty queue", every=0.1)

    # -- up and down ----------------------------------------------------------

    def wait_up(self, timeout: float = 180) -> None:
        """Wait until the controller answers and every node takes jobs."""
        raise NotImplementedError

    def wait_nodes(self, count: int, timeout: float) -> None:
        """Wait until ``count`` nodes take jobs; RigFailure when a daemon died."""

        def ready() -> bool:
            names = [name for name in self.daemons() if name.startswith("slurm")]
            if dead := [name for name in names if self.pid(name) is None]:
                said = (self.path / "log/out").read_text(errors="replace")[-2000:]
                raise RigFailure(f"{', '.join(dead)} died:\n{said}")
            self._take_back()
            return self.nodes_up() >= count

        wait_for(ready, timeout, f"{count} nodes up")

    def _take_back(self) -> None:
        # A controller that was killed can give a job's id twice; Slurm then drains the
        # node for good, and every later test would wait for it.
        drained = self.run(["sinfo", "-hR", "-o", "%N|%E"], timeout=40).stdout
        for line in drained.splitlines():
            nodes, _, why = line.partition("|")
            if why == "Duplicate jobid":
                self.run(["scontrol", "update", f"NodeName={nodes}", "State=RESUME"])

    def nodes_up(self) -> int:
        """Count nodes that take or run jobs now; 0 while nobody answers."""
        done = self.run(["sinfo", "-hN", "-o", "%N %t"], timeout=40)
        if done.returncode:
            return 0
        # "plnd": promised to a job that waits, and free until then.
        good = {"idle", "mix", "alloc", "comp", "plnd"}
        rows = {tuple(line.split()) for line in done.stdout.splitlines()}
        return sum(row[1] in good for row in rows)

    def lap(self, what: str) -> None:
        """Print how long the rig has been starting."""
        print(f"{(time.monotonic() - self._began) * 1000:6.0f} ms  {what}", flush=True)

    def down(self) -> None:
        """Stop everything, jobs first; state stays, so that the next start is fast."""
        with contextlib.suppress(RigFailure, subprocess.TimeoutExpired):
            if self.pid("slurmctld") is not None:
                self.cont("slurmctld")
                self.clear_jobs()
        names = list(self.daemons())
        for name in sorted(names, key=lambda n: (n != "slurmctld", -names.index(n))):
            self.terminate(name)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for child in self._children.values():
            child.wait(10)
        self._children.clear()

    def processes(self) -> list[int]:
        """Return ids of the processes of this rig's jobs, supervisors included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes()
                supervisor = (entry / "comm").read_text().startswith("slurmstepd")
                # A shell that exported SLURM_CONF carries the mark, too: not ours.
                if self._mark in environ and (
                    supervisor or b"SLURM_JOB_ID=" in environ
                ):
                    found.append(int(entry.name))
        return found


def quiet_logins() -> str:
    """Return shell commands that empty root's start-up files, in this mount namespace.

    Slurm runs ``su - USER -c env`` before a job whose variables are named. Whatever
    root's shell does then, such as waiting for a lock, is not what tests are about.
    """
    home = Path(pwd.getpwuid(0).pw_dir)
    names = (".bash_profile", ".bash_login", ".profile", ".bashrc")
    files = [home / name for name in names if (home / name).is_file()]
    binds = [f"mount --bind /dev/null {shlex.quote(str(file))}; " for file in files]
    return "".join(binds)


def make_accounts() -> None:
    """Make alice and bob with home directories, as root, where they are missing."""
    for name, uid in ACCOUNTS.items():
        try:
            pwd.getpwnam(name)
        except KeyError:
            argv = ["useradd", "-m", "-s", "/bin/bash", "-u", str(uid), name]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            # Two rigs may start at once: the account counts, not who made it.
            with contextlib.suppress(KeyError):
                pwd.getpwnam(name)
                continue
            raise RigFailure(f"useradd {name}: {done.stderr}") from None
