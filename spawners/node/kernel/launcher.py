"""The launcher: a kernel job's first process. It stands between kernel and network.

It travels in the job's script (see ``spawners.kernels.script``), takes the place of the
batch shell, and needs nothing but Python 3.6 or newer:

1. dials home to a pinned certificate, proves which job it is, and gets the kernel's
   command, variables and keys, which no file, script or argument ever held;
2. starts the kernel, which listens on sockets in a private directory only;
3. listens on one port, where whoever holds the kernel's certificate gets its five
   channels and a control connection (``ctl``): restart, signal, exit code;
4. ends the job when asked to, when nobody has been attached for the lease's time,
   when the kernel has been dead for as long, or with the scheduler's SIGTERM.

SIGUSR1 says that time is short: passed on over ``ctl``, and to whoever listens on
the socket that the kernel finds in ``LANDBRIDGE_EVENTS``.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional, Set

from spawners.node.kernel.channels import Doors
from spawners.node.kernel.credentials import Keys
from spawners.node.kernel.iopub_buffer import Ring
from spawners.node.kernel.link import Home, hear, host_name, tell
from spawners.node.kernel.process import CannotStart, Kernel, gpu_use, write_private
from spawners.node.kernel.tunnel import (
    CHANNELS,
    SILENCE_SECONDS,
    Json,
    Lines,
    mutual_context,
)
from spawners.node.output import make_private, say
from spawners.node.proof import JobMustEnd

GRACE = 4.0  # from SIGTERM to SIGKILL; a scheduler may give as little as 5 s


# -- the job ------------------------------------------------------------------------


class Launcher:
    """The job from the first answer of home to its end."""

    def __init__(self, directory: str, launch: Json) -> None:
        self.directory = directory
        self.launch = launch
        self.owner: Optional[Lines] = None
        self.keys = Keys(directory, self.report)
        launch["keys"] = self.keys.environment(launch.get("storage"))
        self.kernel = Kernel(1, directory, launch, launch["connection"])
        self.lease = float(launch["lease"])
        self.keep_until = 0.0
        self.ending = ""  # why, once it is
        self.code = 0
        self.ends: Optional[float] = None  # about, once its end is near
        self.listeners: List[Lines] = []
        self.tasks: Set[Any] = set()
        self.ring = Ring()
        self.doors = Doors(lambda: self.kernel.prefix, self.attach, self.spawn)
        self.alone_since = self.dead_since = time.monotonic()

    def listen(self, address: str, ports: Optional[List[int]]) -> int:
        """Take a port on the address that reaches home; return its number."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio sends small messages at once only on what says that it is TCP.
        self.socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        choices = [0]
        if ports:
            choices = list(range(ports[0], ports[1] + 1))
            random.shuffle(choices)
        for port in choices:
            try:
                self.socket.bind((address, port))
                break
            except OSError:
                continue
        else:
            raise CannotStart(
                "All ports %d to %d are in use here." % tuple(ports or ())
            )
        self.socket.listen(100)
        return int(self.socket.getsockname()[1])

    async def run(self) -> None:
        """Serve until the job ends."""
        loop = asyncio.get_event_loop()
        loop.set_exception_handler(lambda loop, context: None)  # refused peers
        identity = os.path.join(self.directory, "identity.pem")
        write_private(identity, self.launch["key"] + self.launch["certificate"])
        tls = mutual_context(
            server=True, identity=identity, certificate=self.launch["certificate"]
        )
        os.unlink(identity)
        patience: Dict[str, Any] = {}
        if sys.version_info >= (3, 7):
            patience = {"ssl_handshake_timeout": 10}
        self.done = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.asked_to_end, int(number))
        loop.add_signal_handler(signal.SIGINT, self.send, int(signal.SIGINT))
        loop.add_signal_handler(signal.SIGUSR1, self.warn)
        loop.add_signal_handler(signal.SIGCHLD, self.look)
        await loop.create_server(
            self.doors.entry, sock=self.socket, ssl=tls, **patience
        )
        events = os.path.join(self.directory, "events")
        await loop.create_unix_server(self.new_listener, path=events)
        await self.keys.serve()
        self.look()
        while not self.done.is_set():
            self.tick()
            try:
                await asyncio.wait_for(self.done.wait(), 1.0)
            except asyncio.TimeoutError:
                continue
        await asyncio.sleep(0.05)  # the last words leave

    def spawn(self, work: Any) -> None:
        """Keep a task until it is done."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def tick(self) -> None:
        """Notice what happens by not happening."""
        now = time.monotonic()
        if self.owner is not None and self.owner.silent_seconds > SILENCE_SECONDS:
            self.owner.abort()
        alone_until = max(self.alone_since + self.lease, self.keep_until)
        if self.owner is None and now > alone_until:
            self.end("nobody has been attached to the kernel for a while", 0)
        elif self.kernel.poll() is not None and now - self.dead_since > self.lease:
            self.end("the kernel has been dead for a while", 0)

    def look(self) -> None:
        """Tell if the kernel ended."""
        if self.kernel.poll() is None or self.kernel.told:
            return
        self.kernel.told = True
        self.dead_since = time.monotonic()
        self.report(dict(self.kernel.facts(), event="exit"))

    def report(self, message: Json) -> bool:
        """Tell the owner; False if there is none."""
        if self.owner is not None:
            self.owner.send(message)
        return self.owner is not None

    def send(self, number: int) -> None:
        """Send a signal to the kernel unless it ended."""
        if self.kernel.poll() is None:
            self.kernel.send(number)

    def warn(self) -> None:
        """Tell everybody that the time limit is near."""
        self.ends = time.monotonic() + float(self.launch["warn_before"])
        say("This job's time limit is near.")
        self.report(self.warning())
        for listener in self.listeners:
            listener.send(self.warning())

    def warning(self) -> Json:
        """Return what is told of the time limit; nothing before it is near."""
        if self.ends is None:
            return {}
        left = max(0.1, self.ends - time.monotonic())
        return {"event": "time-limit", "seconds": round(left, 1)}

    def new_listener(self) -> Lines:
        """Serve a program in the job that waits for warnings."""
        return Lines(lambda message: None, self.listeners_lost, self.listeners_made)

    def listeners_made(self, listener: Lines) -> None:
        """Tell one that came what it missed."""
        self.listeners.append(listener)
        if self.ends is not None:
            listener.send(self.warning())

    def listeners_lost(self, listener: Lines) -> None:
        """Forget one that went."""
        self.listeners.remove(listener)

    def asked_to_end(self, number: int) -> None:
        """The scheduler wants the job to end: say so while there is time."""
        if not self.ending:
            self.ending = "the scheduler ended the job"
            self.code = 128 + number
            self.report({"event": "ending", "signal": number, "why": self.ending})
            self.send(signal.SIGTERM)
            self.spawn(self.wait_for_kernel())

    async def wait_for_kernel(self) -> None:
        """Give the kernel a moment to go, then make it."""
        until = time.monotonic() + GRACE
        while self.kernel.poll() is None and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # SIGCHLD may come for other children
        self.finish()

    def end(self, why: str, code: int) -> None:
        """End the job for a reason of our own."""
        if not self.ending:
            self.ending, self.code = why, code
            say("Ending: %s." % why)
            self.report({"event": "ending", "signal": 0, "why": why})
            self.finish()

    def finish(self) -> None:
        """Kill what is left, say the last word."""
        self.kernel.kill()
        self.look()
        self.report({"event": "bye"})
        self.done.set()

    # -- what the owner asks ----------------------------------------------------

    def attach(self, transport: asyncio.Transport, rest: bytes) -> None:
        """Take the newest connection for the owner; an older one is a dead server's."""
        if self.owner is not None:
            self.owner.abort()
        owner = Lines(self.asked, self.detached)
        self.owner = owner
        owner.connection_made(transport)
        transport.set_protocol(owner)
        hello = dict(self.kernel.facts(), event="hello", warned=self.warning())
        hello["ending"] = self.ending
        hello["host"] = host_name()
        hello["missed"] = self.ring.keeping
        owner.send(hello)
        if rest:
            owner.data_received(rest)

    def detached(self, owner: Lines) -> None:
        """Begin to count the lease, and to keep what the kernel publishes."""
        if self.owner is owner:
            self.owner = None
            self.alone_since = time.monotonic()
            number = CHANNELS.index("iopub") + 1
            self.ring.keep("%s-%d" % (self.kernel.prefix, number))

    def asked(self, message: Json) -> None:
        """Do what the owner asks; unknown requests are of a newer release."""
        op, answer = message.get("op"), {"event": "answer", "id": message.get("id")}
        if op == "ping":
            self.report({"event": "pong"})
            return
        if op == "keys":
            self.keys.told(message)
            return
        if op == "signal":
            self.send(int(message["number"]))
        elif op == "restart" and not self.ending:
            answer.update(self.restart(message))
        elif op == "missed":
            answer.update(self.ring.take())
        elif op == "keep":
            self.keep_until = time.monotonic() + float(message["seconds"])
        elif op == "gpus":
            self.spawn(self.answer_gpus(answer))
            return
        elif op == "end":
            self.end("its user ended it", 0)
            return
        else:
            answer["failed"] = self.ending or "The launcher does not know how."
        self.report(answer)

    async def answer_gpus(self, answer: Json) -> None:
        """Tell the GPUs' use; the program that knows it may take its time."""
        loop = asyncio.get_event_loop()
        answer["gpus"] = await loop.run_in_executor(None, gpu_use)
        self.report(answer)

    def restart(self, message: Json) -> Json:
        """Start anew in the same job, on new sockets."""
        self.kernel.told = True
        self.ring.clear()
        self.kernel.kill()
        self.launch.update(message["launch"])
        try:
            self.kernel = Kernel(
                self.kernel.run + 1,
                self.directory,
                self.launch,
                self.launch["connection"],
            )
        except CannotStart as problem:
            return {"failed": str(problem)}
        # A kernel that died at once is told of in the answer, and by its exit.
        asyncio.get_event_loop().call_soon(self.look)
        return self.kernel.facts()


def begin(facts: Json, directory: str) -> Launcher:
    """Dial home until somebody answers, start the kernel, tell where we listen."""
    home, launcher, port = Home(facts), None, 0
    deadline, pause = time.monotonic() + float(facts["patience"]), 0.2
    while True:
        try:
            link, stream, address = home.dial()
            with link, stream:
                launch = hear(stream)
                try:
                    if launcher is None:
                        launcher = Launcher(directory, launch)
                        port = launcher.listen(address, facts.get("ports"))
                except CannotStart as problem:
                    tell(stream, {"failed": str(problem)})
                    raise JobMustEnd(str(problem), 127) from None
                where = {"address": address, "port": port}
                tell(stream, dict(launcher.kernel.facts(), **where))
                hear(stream)
                return launcher
        except OSError as error:
            if time.monotonic() > deadline:
                raise JobMustEnd(
                    "Nobody answers for this kernel (%s)." % error
                ) from None
            time.sleep(pause)
            pause = min(5.0, pause * 1.5)


def main() -> int:
    """Run the job; return its exit code."""
    make_private()
    facts = json.loads(os.environ["LANDBRIDGE_KERNEL"])
    parent = os.environ.get("TMPDIR", "")
    # Paths of unix sockets end at 107 bytes.
    if not parent or len(parent) > 60 or not os.access(parent, os.W_OK | os.X_OK):
        parent = "/tmp"  # noqa: S108
    directory, launcher = "", None

    def leave(number: int, frame: Any) -> None:
        raise JobMustEnd("The job was asked to end.", 128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        directory = tempfile.mkdtemp(prefix="lbk-", dir=parent)
        launcher = begin(facts, directory)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(launcher.run())
    except JobMustEnd as end:
        say(str(end))
        return end.code
    except OSError as error:
        say("This node cannot run the kernel: %s." % error)
        return 1
    else:
        return launcher.code
    finally:
        if launcher is not None:
            launcher.kernel.kill()
        if directory:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
