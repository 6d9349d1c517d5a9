"""The agent: the first process of a job. It proves the job, starts it, watches it.

It travels in the job's environment (see ``batch/rendezvous/launch.py``), needs nothing
but Python 3.6 or newer, and reads only ``LANDBRIDGE_*``, which it hides from what it
starts:

1. fetch: prove who we are to the hub, whose certificate is pinned; get the command,
   its environment, and a key and certificate, all kept in a private directory;
2. start the command in a process group of its own; pass on and remember its output. A
   program for this very interpreter runs in a copy of this process;
3. ready: once it says on a pipe which port it bound, tell the hub. Behind the port may
   stand words of :data:`ONCE` and :data:`WARNED`;
4. when it crashes, start it again on the same port, unless it said ``once``: kernels in
   jobs of their own are waiting for it;
5. ended: when it ends, tell the hub how, and end with the same code.

SIGTERM and SIGINT end the command and the job; SIGUSR1 says that time is short, and is
passed on to a command that said ``warned``.
"""

import base64
import ctypes
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Dict, List, Mapping, Optional

from spawners.node.forked_program import become, program_for_us
from spawners.node.hub_link import Hub, Json, fetch
from spawners.node.memory import oom_kills
from spawners.node.output import make_private, output, say
from spawners.node.private_directory import make_directory, remove, write_private
from spawners.node.proof import JobMustEnd

GRACE = 12.0  # from SIGTERM to SIGKILL; schedulers give 30 s in all
LAST_WORDS = 10.0  # for the last report
KEPT_OUTPUT = 8 * 1024
RESTARTS, WITHIN = 2, 600.0  # what crashes more often in so many seconds is given up
ASKED = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
ONCE, WARNED = b"once", b"warned"  # a crash ends it for good; it knows SIGUSR1


def prctl(option: int, value: int) -> None:
    """Set a property of this process where the system has it."""
    try:
        ctypes.CDLL(None).prctl(option, value)
    except (AttributeError, OSError):
        return


class Signals:
    """Turns signals into a pipe to wait on and, while asked to, an exception."""

    def __init__(self) -> None:
        self.ending = False
        self.interrupts = True
        self.time_is_short = False
        self.warned: Optional[Server] = None
        self.pipe, writer = os.pipe()
        for end in (self.pipe, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._warn)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _end(self, number: int, frame: Optional[FrameType]) -> None:
        self.ending = True
        if self.interrupts:
            self.interrupts = False
            raise JobMustEnd("The job was asked to end.", 128 + number)

    def _warn(self, number: int, frame: Optional[FrameType]) -> None:
        say("This job's time limit is near. Save your work now.")
        self.time_is_short = True
        self._pass_on()

    def warn(self, server: "Server") -> None:
        """Tell ``server`` from now on, and of what was said before."""
        self.warned = server
        if self.time_is_short:
            self._pass_on()

    def _pass_on(self) -> None:
        if self.warned is not None and self.warned.process.poll() is None:
            # To the command alone: what it started may not expect it.
            os.kill(self.warned.process.pid, signal.SIGUSR1)

    def wait(self, seconds: float, *others: int) -> List[int]:
        """Wait for a signal or for one of ``others`` to be readable; return those."""
        found = select.select([self.pipe, *others], [], [], seconds)[0]
        if self.pipe in found:
            os.read(self.pipe, 512)
        return [one for one in found if one != self.pipe]


def find_python(configured: str, path: str) -> str:
    """Return the interpreter of the user's environment."""
    import shutil  # takes long, and a kernel's job does without

    if configured:
        inside = os.path.join(configured, "bin", "python")
        for candidate in (configured, inside):
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return candidate
        raise JobMustEnd("There is no Python at %s on this node." % configured, 127)
    script = shutil.which("jupyterhub-singleuser", path=path)
    if script is None:
        found = shutil.which("python3", path=path)
        if found is None:
            raise JobMustEnd("There is no Python on this job's PATH.", 127)
        return found
    with open(script, "rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").splitlines()[:2]
    # "#!/path/python", or "'''exec' /path/python …" below "#!/bin/sh" for long paths
    for line in lines:
        for word in line.replace("#!", " ").replace('"', " ").split():
            if word.startswith("/") and "python" in os.path.basename(word):
                return word
    sibling = os.path.join(os.path.dirname(script), "python3")
    return sibling if os.access(sibling, os.X_OK) else "python3"


class Server:
    """The started command: its process group, its output, its pipe.

    Args:
        argv: of the command.
        environment: its variables.
        program: path and arguments, if it is to run in a copy of this process.
    """

    def __init__(
        self,
        argv: List[str],
        environment: Dict[str, str],
        program: Optional[List[str]] = None,
    ) -> None:
        self.tail = bytearray()
        self.kills_before = oom_kills()
        self.ready, told = os.pipe()
        environment["LANDBRIDGE_READY_FD"] = str(told)

        def prepare() -> None:
            os.setpgid(0, 0)
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if program is not None:
                prctl(PR_SET_DUMPABLE, 0)  # it has a copy of our secrets
                become(program, environment, told)

        try:
            self.process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(told,),
                preexec_fn=prepare,  # no other thread but an ending pump
            )
        except OSError as error:
            raise JobMustEnd(
                "%s cannot be started: %s." % (argv[0], error), 127
            ) from None
        finally:
            os.close(told)
        self.pump = threading.Thread(target=self._pump, daemon=True)
        self.pump.start()

    def _pump(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 -- it is a pipe
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return
            self.tail += data
            del self.tail[: -2 * KEPT_OUTPUT]
            output.write(data)

    def send(self, number: int) -> None:
        """Send a signal to the command and its children."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def end(self, signals: Signals) -> None:
        """Ask the command to end, then make it."""
        deadline = time.monotonic() + GRACE
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        while self.process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            signals.wait(left)
        self.send(signal.SIGKILL)
        self.process.wait()
        self.pump.join(2.0)  # a child that left the group may keep the pipe open
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1

    def result(self) -> Json:
        """Return how it ended, and its last words."""
        code = self.process.returncode
        return {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "log": bytes(self.tail)[-KEPT_OUTPUT:].decode("utf-8", "replace"),
        }


def is_ours(name: str) -> bool:
    """Tell our facts from the job's id, by which the local scheduler knows it."""
    return name.startswith("LANDBRIDGE_") and name != "LANDBRIDGE_JOB_ID"


def environment_for(launch: Json, directory: str, authority: bytes) -> Dict[str, str]:
    """Return the command's variables: the job's own without ours, then the hub's."""
    environment = {key: value for key, value in os.environ.items() if not is_ours(key)}
    runtime = os.path.join(directory, "run")
    os.mkdir(runtime, 0o700)
    environment["JUPYTER_RUNTIME_DIR"] = runtime
    environment.update(launch["environment"])
    pem = ssl.DER_cert_to_PEM_cert(authority)
    if "authority" in launch:
        write_private(directory, "jobs-ca.crt", launch["authority"])
    files = {
        "JUPYTERHUB_SSL_KEYFILE": ("server.key", launch["key"]),
        "JUPYTERHUB_SSL_CERTFILE": ("server.crt", launch["certificate"]),
        "JUPYTERHUB_SSL_CLIENT_CA": ("hub-ca.crt", pem),
    }
    for key, (name, text) in files.items():
        environment[key] = write_private(directory, name, text)
    for name, text in launch["files"].items():
        write_private(directory, name, text)
    return environment


class Service:
    """The command, started again in its job when it crashes once it was ready."""

    def __init__(self, hub: Hub, launch: Json, signals: Signals) -> None:
        self.hub, self.launch, self.signals = hub, launch, signals
        self.server: Optional[Server] = None
        self.port = 0  # as the hub knows it
        self.once = False
        self.crashes: List[float] = []

    def run(
        self,
        argv: List[str],
        environment: Dict[str, str],
        program: Optional[List[str]] = None,
    ) -> None:
        """Run the command until it ends for good; see :class:`Server`."""
        while not self.signals.ending:
            self.server = Server(argv, environment, program)
            prctl(PR_SET_DUMPABLE, 0)  # we hold secrets: no core file
            self.watch(self.server)
            if not self.is_to_be_restarted(self.server):
                return
            say("The server crashed. It is started again in this job.")
            self.server.end(self.signals)
            environment["LANDBRIDGE_BIND_PORT"] = str(self.port)

    def is_to_be_restarted(self, server: Server) -> bool:
        """Tell a crash of a server that was ready from an end."""
        code = server.process.poll() or 0
        if not self.port or self.once or self.signals.ending:
            return False
        if code >= 0 or code in ASKED:
            return False
        if oom_kills() > server.kills_before:
            return False  # its owner is to know, and to ask for more
        now = time.monotonic()
        self.crashes = [then for then in self.crashes if now - then < WITHIN] + [now]
        if len(self.crashes) <= RESTARTS:
            return True
        times = "%d times in %d minutes" % (len(self.crashes), WITHIN / 60)
        raise JobMustEnd("The server crashed %s; it is not started again." % times)

    def watch(self, server: Server) -> None:
        """Report the port once it is known, then stay until the command ends."""
        line = b""
        listening = True
        while server.process.poll() is None and not self.signals.ending:
            others = [server.ready] if listening else []
            if not self.signals.wait(30.0, *others):
                continue
            data = os.read(server.ready, 64)
            line += data
            listening = bool(data) and b"\n" not in line
            port, *words = line.split() or [b""]
            if not listening and port.isdigit():
                self.once = ONCE in words
                if WARNED in words:
                    self.signals.warn(server)
                self.tell(server, int(port))

    def tell(self, server: Server, port: int) -> None:
        """Tell the hub where the server answers; after a restart it knows."""
        if self.port:
            if port != self.port:
                raise JobMustEnd("The server's port was taken by somebody else.")
            return
        report = {
            "secret": self.launch["report_secret"],
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "port": port,
            "fingerprint": self.launch["fingerprint"],
        }

        def wait(seconds: float) -> None:
            self.signals.wait(seconds)
            if server.process.poll() is not None:
                raise JobMustEnd("The server ended before the hub answered.")

        self.signals.interrupts = True
        self.hub.call("ready", lambda: report, wait)
        self.signals.interrupts = False
        self.port = port


def serve(facts: Dict[str, str], signals: Signals, directory: str) -> int:
    """Fetch, start, watch, report; return the job's exit code."""
    authority = base64.b64decode(facts["LANDBRIDGE_CA"])
    patience = float(facts.get("LANDBRIDGE_PATIENCE", "600"))
    hub = Hub(facts["LANDBRIDGE_HUB"], authority, own_name(facts, os.environ), patience)
    launch = fetch(hub, facts, signals.wait)
    signals.interrupts = False
    environment = environment_for(launch, directory, authority)
    places = {"{dir}": directory, "{agent}": sys.executable or "python3"}
    ended: Optional[JobMustEnd] = None
    service = Service(hub, launch, signals)
    try:
        if any("{python}" in word for word in launch["argv"]):
            path = environment.get("PATH", os.defpath)
            places["{python}"] = find_python(facts.get("LANDBRIDGE_PYTHON", ""), path)
        argv = [fill(word, places) for word in launch["argv"]]
        ours = program_for_us(launch["argv"])
        program = None if ours is None else [fill(word, places) for word in ours]
        service.run(argv, environment, program)
    except JobMustEnd as end:
        ended = end
    signals.interrupts, server = False, service.server
    result: Json = {"exit_code": ended.code if ended else 1, "log": ""}
    if server is not None:
        server.end(signals)
        result = server.result()
    if ended is not None:
        say(ended.message)
        result["log"] += "\n" + ended.message
    try:
        report = dict(result, secret=launch["report_secret"])
        hub.call("ended", lambda: report, signals.wait, LAST_WORDS)
    except JobMustEnd as end:
        say("The end of this job was not reported: " + end.message)
    if ended is not None and not service.crashes:
        return ended.code
    code = result["exit_code"]
    return 128 + int(result["signal"]) if code is None else int(code)


def own_name(facts: Dict[str, str], environment: Mapping[str, str]) -> str:
    """Return this job's name; of a task of a set it follows from its index."""
    if "LANDBRIDGE_SET" not in facts:
        return facts["LANDBRIDGE_JOB"]
    index = environment.get("SLURM_ARRAY_TASK_ID") or facts["LANDBRIDGE_TASK"]
    return facts["LANDBRIDGE_SET"] + "-" + index


def fill(word: str, places: Dict[str, str]) -> str:
    """Replace a place at the start of a word."""
    for place, value in places.items():
        if word.startswith(place):
            return value + word[len(place) :]
    return word


def main() -> int:
    """Run the job; return its exit code."""
    directory = ""
    make_private()
    try:
        signals = Signals()
        names = [name for name in os.environ if is_ours(name)]
        facts = {name: os.environ.pop(name) for name in names}
        directory = make_directory()
        return serve(facts, signals, directory)
    except JobMustEnd as end:
        say(end.message)
        return end.code
    except KeyError as error:
        say("This job lacks the variable %s." % error)
        return 1
    finally:
        if directory:
            remove(directory)


if __name__ == "__main__":
    sys.exit(main())
