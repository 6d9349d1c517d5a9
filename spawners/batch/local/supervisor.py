"""The process that watches over one local job, from its start to its end.

Started by :mod:`~spawners.batch.local.queue` as ``python -I -m
spawners.batch.local.supervisor DIRECTORY LOCK GPUS``. It leaves its parent at once,
so that it and the job outlive the hub, and stays above everything that the job
starts: as a "child subreaper" it becomes the parent of whatever the job leaves
behind, in whichever session. It ends all of that when the job's script ends, when
its time is up, when it holds too much memory, or when it is told to.

Standard library only. Run by the hub's own account; as root it becomes the job's
account in the child, so that the job can neither stop it nor forge its records.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import NoReturn

from spawners.common.processes import boot_id, process

from .files import (
    End,
    Run,
    Ticket,
    descendants,
    likely_descendants,
    proportional_memory,
    read_record,
    resident_memory,
    supervises,
    write_record,
)

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_WATCHED = {signal.SIGTERM, signal.SIGCHLD}
_TICK_SECONDS = 1.0
# What the job leaves behind may end by itself for so long.
_LEFTOVERS_SECONDS = 2.0


def main() -> None:
    """Leave the parent, then run the job; the parent returns once that is recorded."""
    directory, lock, gpus = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    recorded, report = os.pipe()
    if os.fork():
        # End of file: recorded, or the supervisor is gone.
        os.close(report)
        os.close(lock)
        os.read(recorded, 1)
        os._exit(0)
    os.close(recorded)
    os.setsid()
    os.set_inheritable(lock, False)  # noqa: FBT003 - the only parameter
    supervise(
        directory, tuple(int(gpu) for gpu in gpus.split(",") if gpu), (lock, report)
    )


def supervise(
    directory: Path, gpus: tuple[int, ...], until_recorded: tuple[int, ...]
) -> None:
    """Run the job in ``directory`` to its end and record both.

    Args:
        directory: see :mod:`~spawners.batch.local.files`.
        gpus: indexes of the GPUs for it.
        until_recorded: descriptors to close once ``run.json`` is there; one holds
            the queue's lock, so that nobody counts our slots as free meanwhile.
    """
    own = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another supervisor has it
    if (directory / "run.json").exists() or (directory / "end.json").exists():
        return
    ticket = read_record(directory / "ticket.json", Ticket)
    if ticket is None:
        return
    _adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    job = _Job(directory, ticket, gpus)
    job.start(until_recorded)
    write_record(directory / "end.json", job.watch())


def _adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class _Job:
    """One job: its first process and everything below us."""

    def __init__(self, directory: Path, ticket: Ticket, gpus: tuple[int, ...]) -> None:
        self._directory = directory
        self._ticket = ticket
        self._gpus = gpus
        self._leader = 0
        self._status: int | None = None
        self._began = _now()
        self._warned = False
        self._launch_problem = ""

    def start(self, until_recorded: tuple[int, ...]) -> None:
        """Start the script, once it is recorded who runs it."""
        script = (self._directory / "script").read_bytes()
        environment = json.loads((self._directory / "environment.json").read_bytes())
        environment["LANDBRIDGE_JOB_ID"] = self._ticket.id
        if task := self._ticket.id.partition("_")[2]:
            environment["LANDBRIDGE_TASK"] = task
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self._gpus))
        wait, go = os.pipe()
        problem, report = os.pipe()
        self._leader = os.fork()
        if not self._leader:
            for descriptor in (go, problem, *until_recorded):
                os.close(descriptor)
            _become_job(self._ticket, script, environment, wait, report)
        os.close(wait)
        os.close(report)
        self._record_run()
        for name in ("script", "environment.json"):
            (self._directory / name).unlink()
        for descriptor in until_recorded:
            os.close(descriptor)
        os.write(go, b"!")
        os.close(go)
        with os.fdopen(problem, "rb") as file:
            self._launch_problem = file.read(500).decode("utf-8", "replace")

    def _record_run(self) -> None:
        own, leader = process(os.getpid()), process(self._leader)
        if own is None or leader is None:
            raise ProcessLookupError("the job's first process is gone")
        started, limit = time.time(), self._ticket.time_limit
        self._began = _now()
        run = Run(
            boot=boot_id(),
            supervisor=own.pid,
            supervisor_start=own.started,
            leader=leader.pid,
            leader_start=leader.started,
            started=started,
            ends=None if limit is None else started + limit,
            gpus=self._gpus,
            node=socket.gethostname(),
        )
        write_record(self._directory / "run.json", run)

    def watch(self) -> End:
        """Return how the job ended, after everything that it started is gone."""
        cause: tuple[str, str] | None = None
        kill_at = 0.0
        while self._status is None:
            told = signal.sigtimedwait(_WATCHED, self._pause())
            self._reap()
            if self._status is not None:
                break
            if cause is None:
                stop = told is not None and told.si_signo == signal.SIGTERM
                cause = self._reason_to_end(asked=stop)
                if cause is not None:
                    harsh = cause[0] == "OUT_OF_MEMORY"
                    kill_at = _now() + (0 if harsh else self._ticket.kill_wait)
                    self._signal_all(signal.SIGKILL if harsh else signal.SIGTERM)
            elif _now() >= kill_at:
                self._signal_all(signal.SIGKILL)
        grace = max(0.0, kill_at - _now()) if cause else _LEFTOVERS_SECONDS
        self._end_leftovers(grace)
        return self._end(cause)

    def _pause(self) -> float:
        """Return how long to wait at most for something to happen."""
        pause = _TICK_SECONDS
        limit = self._ticket.time_limit
        if limit is not None:
            left = self._began + limit - _now()
            warn = self._ticket.warn_before
            if warn is not None and not self._warned:
                left = min(left, left - warn)
            pause = min(pause, max(0.05, left))
        return pause

    def _reason_to_end(self, *, asked: bool) -> tuple[str, str] | None:
        """Return state and reason if the job must end now; warn it if it must soon."""
        if asked or (self._directory / "cancel").exists():
            return "CANCELLED", ""
        ticket = self._ticket
        if ticket.time_limit is not None:
            left = self._began + ticket.time_limit - _now()
            if left <= 0:
                return "TIMEOUT", "TimeLimit"
            if (
                ticket.warn_before is not None
                and left <= ticket.warn_before
                and not self._warned
            ):
                self._warned = True
                # Not reaped yet, so its number is still its own.
                os.kill(self._leader, signal.SIGUSR1)
        if ticket.memory is not None and self._holds_more_than(ticket.memory):
            return "OUT_OF_MEMORY", "OutOfMemory"
        return None

    def _holds_more_than(self, limit: int) -> bool:
        pids = likely_descendants(os.getpid(), self._is_anothers)
        # The cheap sum counts shared pages twice: only its "no" is trusted.
        return resident_memory(pids) > limit and proportional_memory(pids) > limit

    def _reap(self) -> None:
        """Take the ends of children: the job's own, and of orphans we became."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._leader:
                    self._status = status

    def _is_anothers(self, pid: int) -> bool:
        """Tell the supervisor of a job that was submitted from within this one."""
        return supervises(pid, self._directory.parent)

    def _signal_all(self, number: int) -> bool:
        """Send a signal to all that is below us; False if nothing is."""
        below = descendants(os.getpid(), self._is_anothers)
        for found in below:
            # A program that became another user's is beyond an ordinary account.
            with contextlib.suppress(PermissionError):
                found.id.send(number)
                if number == signal.SIGTERM:
                    found.id.send(signal.SIGCONT)
        return bool(below)

    def _end_leftovers(self, grace: float) -> None:
        kill_at = _now() + grace
        give_up_at = kill_at + 30
        if not self._signal_all(signal.SIGTERM):
            return
        while _now() < give_up_at:
            signal.sigtimedwait(_WATCHED, 0.1)
            self._reap()
            if _now() >= kill_at:
                if not self._signal_all(signal.SIGKILL):
                    return
            elif not descendants(os.getpid(), self._is_anothers):
                return

    def _end(self, cause: tuple[str, str] | None) -> End:
        code = os.waitstatus_to_exitcode(self._status or 0)
        exit_code, number = (None, -code) if code < 0 else (code, None)
        if self._launch_problem:
            exit_code = None  # it is ours, not the script's
            state, reason = "LAUNCH_FAILED", self._launch_problem
        elif cause is not None:
            state, reason = cause
        elif number is not None:
            state, reason = "FAILED", "RaisedSignal"
        elif exit_code:
            state, reason = "FAILED", "NonZeroExitCode"
        else:
            state, reason = "COMPLETED", ""
        return End(state, reason, exit_code, number, time.time())


def _become_job(
    ticket: Ticket, script: bytes, environment: dict[str, str], wait: int, report: int
) -> NoReturn:
    """Turn this process, a child of the supervisor, into the job's script."""
    step = "start"
    try:
        if not os.read(wait, 1):
            os._exit(1)  # the supervisor is gone, and nobody knows of us
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        step = "account"
        if ticket.account is not None:
            os.setgroups(ticket.account.groups)
            os.setgid(ticket.account.gid)
            os.setuid(ticket.account.uid)
        step = "workdir"
        os.chdir(ticket.workdir)
        step = "output"
        os.umask(0o077)
        output = open_output(ticket.output)
        os.umask(0o022)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        step = "script"
        # In memory, so that no copy of it lies about for its user to read or lose.
        memory = os.memfd_create("landbridge-job", 0)
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(script)
        os.execve(f"/proc/self/fd/{memory}", ["landbridge-job"], environment)  # noqa: S606
    except OSError as error:
        os.write(report, f"{step}: {error.strerror}".encode())
    finally:
        os._exit(127)


def open_output(path: str | None) -> int:
    """Return a descriptor of the job's output file, made if it is not there.

    Raises:
        OSError: it cannot be made, or what is there is no regular file of ours: a
            pipe would stop us, and another one's file or link be theirs to read.
    """
    if path is None:
        return os.open(os.devnull, os.O_WRONLY | os.O_NOCTTY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY
    try:
        output = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe without reader
            raise OSError(error.errno, f"{path} is no regular file") from None
        raise OSError(error.errno, f"{path}: {error.strerror}") from None
    facts = os.fstat(output)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
        os.close(output)
        raise OSError(errno.EEXIST, f"{path} is no regular file of this account")
    os.fchmod(output, 0o600)
    os.set_blocking(output, True)
    return output


def _now() -> float:
    """Return seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    main()
