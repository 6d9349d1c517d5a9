"""The launcher: it stands between a kernel and the network, to the end of the job.

The kernel was started before it (``main.py``), and listens on sockets in the job's
private directory only. The launcher:

1. listens on one port, and tells it to the agent. There the job's owner, who shows a
   certificate of the jobs' authority for this very job, gets the kernel's five channels
   and a control connection (``ctl``): restart, signal, exit code;
2. ends the job when asked to, when nobody has been attached for the lease's time,
   when the kernel has been dead for as long, or with the scheduler's SIGTERM.

SIGUSR1 says that time is short: passed on over ``ctl``, and to whoever listens on
the socket that the kernel finds in ``LANDBRIDGE_EVENTS``.

Travels in the job with ``main.py``: standard library of Python 3.6 or newer only.
"""

import asyncio
import os
import random
import signal
import socket
import sys
import time
from typing import Any, Dict, List, Optional, Set, Union

from spawners.node.kernel.channels import Doors
from spawners.node.kernel.credentials import Address
from spawners.node.kernel.iopub_buffer import Ring
from spawners.node.kernel.key_server import Keys
from spawners.node.kernel.names import CHANNELS, Json
from spawners.node.kernel.process import (
    Kernel,
    NoKernel,
    gpu_use,
    start_kernel,
    write_private,
)
from spawners.node.kernel.tunnel import SILENCE_SECONDS, Lines, mutual_context
from spawners.node.output import say

GRACE = 4.0  # from SIGTERM to SIGKILL; a scheduler may give as little as 5 s


# -- the job ------------------------------------------------------------------------


class Launcher:
    """The job from its first moment to its end.

    Args:
        directory: the job's private one.
        launch: what is in ``kernel.json``; see ``spawners.kernels.launch``.
        identity: PEM of the job's key and certificate.
        authority: PEM of the authority that signed it, and the owner's.
        kernel: that runs already.
        keys: where its programs ask for keys.
    """

    def __init__(
        self,
        directory: str,
        launch: Json,
        identity: str,
        authority: str,
        kernel: Union[Kernel, NoKernel],
        keys: Address,
    ) -> None:
        self.directory = directory
        self.launch = launch
        self.identity, self.authority = identity, authority
        self.owner: Optional[Lines] = None
        self.kernel = kernel
        self.keys = Keys(keys, self.report)
        self.lease = float(launch["lease"])
        self.keep_until = 0.0
        self.ending = ""  # why, once it is
        self.code = 0
        self.ends: Optional[float] = None  # about, once its end is near
        self.listeners: List[Lines] = []
        self.tasks: Set[Any] = set()
        self.ring = Ring()
        self.doors = Doors(
            launch["host"], lambda: self.kernel.prefix, self.attach, self.spawn
        )
        self.alone_since = self.dead_since = time.monotonic()

    def listen(self) -> int:
        """Take a port on all addresses, or on one that was named; return its number.

        Raises:
            OSError: none is free.
        """
        address, ports = self.launch.get("address") or "", self.launch.get("ports")
        choices = [0]
        if ports:
            choices = list(range(ports[0], ports[1] + 1))
            random.shuffle(choices)
        for port in choices:
            try:
                self.socket = bind(address, port)
            except OSError:
                continue
            self.socket.listen(100)
            return int(self.socket.getsockname()[1])
        raise OSError("all ports %d to %d are in use" % tuple(ports or (0, 0)))

    async def run(self) -> None:
        """Serve until the job ends."""
        loop = asyncio.get_event_loop()
        loop.set_exception_handler(lambda loop, context: None)  # refused peers
        identity = os.path.join(self.directory, "identity.pem")
        write_private(identity, self.identity)
        tls = mutual_context(server=True, identity=identity, authority=self.authority)
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
        announce(int(self.socket.getsockname()[1]))
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
        hello["keep"] = max(0.0, self.keep_until - time.monotonic())
        for name in ("connection", "env", "cwd"):
            hello[name] = self.launch[name]
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
        self.kernel = start_kernel(
            self.kernel.run + 1, self.directory, self.launch, self.launch["connection"]
        )
        self.dead_since = time.monotonic()
        # A kernel that died at once is told of in the answer, and by its exit.
        asyncio.get_event_loop().call_soon(self.look)
        return self.kernel.facts()


def host_name() -> str:
    """Return this node's name, as the scheduler spells it if it tells."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def bind(address: str, port: int) -> socket.socket:
    """Return a bound socket, of both families where no address is named.

    Raises:
        OSError: the port is taken, or the address is none of ours.
    """
    families = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address)]
    if not address:
        families = [(socket.AF_INET6, "::"), (socket.AF_INET, "")]
    trouble = OSError("no network")
    for family, host in families:
        try:
            # asyncio sends small messages at once only on what says that it is TCP.
            one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as error:
            trouble = error
            continue  # this family does not exist here
        try:
            if not address and family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            one.bind((host, port))
        except OSError as error:
            one.close()
            trouble = error
        else:
            return one
    raise trouble


def announce(port: int) -> None:
    """Tell the agent, and what it has to know of us (``agent.ONCE``, ``WARNED``)."""
    descriptor = int(os.environ.pop("LANDBRIDGE_READY_FD"))
    os.write(descriptor, b"%d once warned\n" % port)
    os.close(descriptor)


def run(launcher: Launcher) -> int:
    """Serve until the job ends; return its exit code."""
    try:
        launcher.listen()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(launcher.run())
    except OSError as error:
        say("This node cannot run the kernel: %s." % error)
        return 1
    else:
        return launcher.code
    finally:
        launcher.kernel.kill()
