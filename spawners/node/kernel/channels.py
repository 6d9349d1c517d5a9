"""The launcher's port: its owner's connections, each to one of the kernel's sockets.

Travels in the job with ``launcher.py``: standard library of Python 3.6 or
newer only.
"""

import asyncio
import functools
import time
from typing import Any, Callable, Set

from spawners.node.kernel.names import CHANNELS, CONTROL
from spawners.node.kernel.tunnel import Pipe, join, shows_name

HEAD_START = 0.03  # seconds; a subscription is to be there before what it is to hear
_ASKING = ("shell", "control")
_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


class Doors:
    """All connections to one launcher.

    Args:
        host: the name in the owner's certificate; whoever shows another is cut off.
        prefix: tells what the names of the present run's sockets begin with.
        attach: takes a control connection, and what came after its name.
        spawn: keeps a task until it is done.
    """

    def __init__(
        self,
        host: str,
        prefix: Callable[[], str],
        attach: Callable[[asyncio.Transport, bytes], None],
        spawn: Callable[[Any], None],
    ) -> None:
        self.host, self.prefix = host, prefix
        self.attach, self.spawn = attach, spawn
        self._subscribing: Set[Pipe] = set()
        self._subscribed_at = 0.0

    def entry(self) -> "Entry":
        """Return what serves a new connection."""
        return Entry(self)

    async def reach(self, inner: Pipe, entry: Pipe, channel: str) -> None:
        """Connect ``inner`` once the kernel has made its socket, now or in a later run.

        Requests wait for subscriptions that came before them, or a kernel's answer
        to the first one after a restart would be published to nobody.
        """
        if channel == "iopub":
            self._subscribing.add(entry)
        pause = _PAUSE
        while not entry.closed:
            if channel in _ASKING and self._somebody_subscribes():
                await asyncio.sleep(_PAUSE)
                continue
            path = "%s-%d" % (self.prefix(), CHANNELS.index(channel) + 1)
            try:
                make = functools.partial(_same, inner)
                await asyncio.get_event_loop().create_unix_connection(make, path)
                break
            except OSError:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 1.3)
        if channel == "iopub":
            self._subscribing.discard(entry)
            self._subscribed_at = time.monotonic()

    def _somebody_subscribes(self) -> bool:
        young = time.monotonic() - self._subscribed_at < HEAD_START
        return young or any(not one.closed for one in self._subscribing)


class Entry(Pipe):
    """A connection from the owner's side; its first line names the channel."""

    def __init__(self, doors: Doors) -> None:
        super().__init__()
        self.doors = doors
        self.named = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hear nobody but the owner of this very job."""
        super().connection_made(transport)
        if self.transport is not None and not shows_name(transport, self.doors.host):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read the name, then pass on."""
        if self.named:
            super().data_received(data)
            return
        self.kept.append(data)
        head, found, rest = b"".join(self.kept).partition(b"\n")
        if not found and len(head) < 16:
            return
        self.named = True
        self.kept = [rest] if rest else []
        name = head.decode("ascii", "replace")
        assert self.transport is not None  # noqa: S101 -- data came from it
        if name == CONTROL:
            self.doors.attach(self.transport, rest)
        elif name in CHANNELS:
            self.doors.spawn(self.join_kernel(name))
        else:
            self.transport.abort()

    async def join_kernel(self, channel: str) -> None:
        """Become one of the kernel's connections."""
        assert self.transport is not None  # noqa: S101
        self.transport.pause_reading()
        inner = Pipe()
        await self.doors.reach(inner, self, channel)
        join(self, inner)
        if not self.closed:
            self.transport.resume_reading()


def _same(pipe: Pipe) -> Pipe:
    return pipe
