"""A kernel's process on its node, and what the node tells about its end.

Travels in the job with ``launcher.py``: standard library of Python 3.6 or
newer only.
"""

import json
import os
import pwd
import signal
import subprocess
import threading
from typing import Dict, List, Optional, Union

from spawners.node.kernel.names import CHANNELS, Json
from spawners.node.kernel_pipe import with_private_pipe
from spawners.node.memory import oom_kills
from spawners.node.output import output

KEPT_OUTPUT = 8 * 1024
# The kernel, which has the data, is to be killed for memory; not who tells of it.
_OOM_SCORE = "600"
# Of the agent's, and of a server's own, beside all of ours.
_HIDDEN = (
    "SLURM_EXPORT_ENV",
    "SBATCH_EXPORT",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERHUB_SSL_KEYFILE",
    "JUPYTERHUB_SSL_CERTFILE",
    "JUPYTERHUB_SSL_CLIENT_CA",
)
_GPU_QUERY = [
    "nvidia-smi",
    "--query-gpu=index,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
]
_GPU_SECONDS = 10
_MIB = 1024 * 1024


class CannotStart(Exception):
    """The kernel cannot be started on this node; the text says why."""


def write_private(path: str, text: str) -> None:
    """Write a new file that only this user may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def base_environment() -> Dict[str, str]:
    """Return the job's own variables without ours, completed by the account's."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in _HIDDEN
        and (not key.startswith("LANDBRIDGE_") or key == "LANDBRIDGE_JOB_ID")
    }
    environment.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:  # an account that this node does not know
        return environment
    environment.setdefault("HOME", account.pw_dir)
    environment.setdefault("USER", account.pw_name)
    environment.setdefault("LOGNAME", account.pw_name)
    environment.setdefault("SHELL", account.pw_shell or "/bin/sh")
    return environment


class Kernel:
    """The kernel of one run: its process group, its sockets, its last words.

    Attributes:
        run: 1, 2, …: a restart is a new run.
        prefix: what its sockets' names begin with; ``-1`` to ``-5`` follow.
        notes: what the user should know of how it was started.
        told: whether its end was reported.
    """

    def __init__(self, run: int, directory: str, launch: Json, key: Json) -> None:
        self.run = run
        self.prefix = os.path.join(directory, "k%d" % run)
        self.notes: List[str] = []
        self.told = False
        self.tail = bytearray()
        self.kills_before = oom_kills()
        self._returncode: Optional[int] = None
        connection = "%s.json" % self.prefix
        info: Json = {"transport": "ipc", "ip": self.prefix, "kernel_name": ""}
        info.update({n + "_port": i + 1 for i, n in enumerate(CHANNELS)})
        info.update(key)
        write_private(connection, json.dumps(info))
        argv = [w.replace("{connection_file}", connection) for w in launch["argv"]]
        argv = with_private_pipe(argv, directory)
        environment = base_environment()
        if os.path.isabs(argv[0]):  # as activating its environment would
            place = os.path.dirname(argv[0])
            environment["PATH"] = place + os.pathsep + environment["PATH"]
        environment.update(launch.get("keys") or {})
        environment.update(launch["env"])
        environment["LANDBRIDGE_EVENTS"] = os.path.join(directory, "events")
        self._start(argv, environment, self._place(launch.get("cwd")))

    def _place(self, wanted: Optional[str]) -> str:
        home = os.path.expanduser("~")
        fallback = home if os.path.isdir(home) else os.path.dirname(self.prefix)
        if not wanted:
            return fallback
        if os.path.isdir(wanted) and os.access(wanted, os.X_OK):
            return wanted
        self.notes.append("%s is not on this node; started in %s." % (wanted, fallback))
        return fallback

    def _start(self, argv: List[str], env: Dict[str, str], cwd: str) -> None:
        try:
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # interrupts are for the group, not for us
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise CannotStart("%s cannot be started: %s." % (argv[0], why)) from None
        except ValueError as error:
            raise CannotStart("It cannot be started: %s." % error) from None
        try:
            with open("/proc/%d/oom_score_adj" % self.process.pid, "w") as file:
                file.write(_OOM_SCORE)
        except OSError:
            self.notes.append("The kernel's memory priority could not be set.")
        self._pump = threading.Thread(target=self._read_output, daemon=True)
        self._pump.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 -- it is a pipe
        descriptor = self.process.stdout.fileno()
        while True:
            data = os.read(descriptor, 65536)
            if not data:
                return
            self.tail += data
            del self.tail[:-KEPT_OUTPUT]
            output.write(data)

    def poll(self) -> Optional[int]:
        """Return the exit code once it ended; negative: the signal."""
        if self._returncode is None:
            self._returncode = self.process.poll()
            if self._returncode is not None:
                self._pump.join(0.2)  # a child of it may keep the pipe open
        return self._returncode

    def send(self, number: int) -> None:
        """Send a signal to it and to what it started."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def kill(self) -> None:
        """End it and its children now."""
        self.send(signal.SIGKILL)
        self.process.wait()
        self.poll()

    def facts(self) -> Json:
        """Return what the other end wants to know of this run."""
        code = self.poll()
        facts: Json = {"run": self.run, "pid": self.process.pid, "rc": code}
        facts["notes"] = self.notes
        if code is not None:
            facts["oom"] = code == -signal.SIGKILL and oom_kills() > self.kills_before
            facts["tail"] = bytes(self.tail)[-2048:].decode("utf-8", "replace")
        return facts


class NoKernel:
    """A run that could not be started: it has ended as soon as it begins.

    Attributes are those of :class:`Kernel`.
    """

    def __init__(self, run: int, directory: str, why: str) -> None:
        self.run = run
        self.prefix = os.path.join(directory, "k%d" % run)
        self.told = True
        self.why = why

    def poll(self) -> int:
        """Return a shell's code for what it does not find."""
        return 127

    def send(self, number: int) -> None:
        """Do nothing: nobody is there."""

    def kill(self) -> None:
        """Do nothing: nobody is there."""

    def facts(self) -> Json:
        """Return what the other end wants to know, and why there is no kernel."""
        return {"run": self.run, "pid": 0, "rc": self.poll(), "failed": self.why}


def start_kernel(
    run: int, directory: str, launch: Json, key: Json
) -> Union[Kernel, NoKernel]:
    """Start the kernel for the ``run``-th time; see :class:`Kernel`."""
    try:
        return Kernel(run, directory, launch, key)
    except CannotStart as problem:
        return NoKernel(run, directory, str(problem))


def gpu_use() -> Optional[List[Dict[str, int]]]:
    """Return the use of this job's GPUs, ``None`` where nothing tells it.

    Each has ``index``, ``utilization`` (percent), ``memory_used`` and
    ``memory_total`` (bytes). Source: ``nvidia-smi --query-gpu`` as CSV without units
    (driver 418 and later); lines with ``[N/A]`` are left out. On nodes whose GPUs are
    not fenced off by cgroups, ``CUDA_VISIBLE_DEVICES`` says which are the job's.
    """
    command = list(_GPU_QUERY)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible and all(part.isdigit() for part in visible.split(",")):
        command.append("--id=%s" % visible)
    try:
        text = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GPU_SECONDS,
            check=True,
        ).stdout.decode("ascii", "replace")
    except (OSError, subprocess.SubprocessError):
        return None
    found = []
    for line in text.splitlines()[:64]:
        try:
            index, percent, used, total = (int(word) for word in line.split(","))
        except ValueError:
            continue
        found.append(
            {
                "index": index,
                "utilization": percent,
                "memory_used": used * _MIB,
                "memory_total": total * _MIB,
            }
        )
    return found or None
