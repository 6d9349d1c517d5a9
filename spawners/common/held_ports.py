"""Ports that stay ours while nobody of ours listens there.

A socket that is bound and never listens keeps a port: Linux lets another one bind it
only with ``SO_REUSEPORT`` on both and the same account behind both (``SO_REUSEADDR``
on both would do as well, so a held port's socket has it not). HAProxy sets both on its
own and so comes back to a port that we hold; a stranger does not get it, and while
HAProxy is away a connection is refused.
"""

from __future__ import annotations

import errno
import socket

_ANY = {"*": "0.0.0.0", "": "0.0.0.0"}  # noqa: S104 -- as HAProxy reads it


class PortTaken(OSError):
    """A port that must be ours is somebody else's; the text says which."""


class HeldPorts:
    """Ports that are held until closed, or until this process ends."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}

    def hold(self, address: str) -> None:
        """Hold ``host:port`` from now on; nothing happens if it is held already.

        What of our account listens there already, and shares the port, may go on.
        A port that we may not bind at all, because it is root's, is root's to protect.

        Raises:
            PortTaken: another account has it, or a program that does not share it.
        """
        if address in self._sockets:
            return
        host, _, port = address.rpartition(":")
        host = _ANY.get(host, host).strip("[]")
        held = self._sockets[address] = []
        try:
            found = socket.getaddrinfo(
                host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, _, _, where in found:
                held.append(socket.socket(family, kind))
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held[-1].bind(where)
        except OSError as error:
            self._release(address)
            if error.errno == errno.EACCES:
                return
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"port {port} on {host}: address already in use, and not by a "
                    "program of ours"
                ) from None
            raise PortTaken(
                f"cannot listen on {host}, port {port}: {error.strerror}"
            ) from None

    def close(self) -> None:
        """Hold nothing any more."""
        for address in list(self._sockets):
            self._release(address)

    def _release(self, address: str) -> None:
        for one in self._sockets.pop(address):
            one.close()
