"""Where the embedded store answers: all that the gateway's edge has to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .site.embedded_files import SOCKET
from .site.embedded_ports import kept_ports, port_socket, protected_ports

__all__ = ["SOCKET", "ProtectedPort", "protected_port"]


@dataclass(frozen=True, slots=True)
class ProtectedPort:
    """A port on which nobody but the store can listen, and how that is proved.

    Attributes:
        number: of the port, on loopback.
        socket: name of the socket in ``sock`` that is there while the store has it.
    """

    number: int
    socket: str


def protected_port(directory: Path) -> ProtectedPort | None:
    """Return where the store in ``directory`` speaks S3, chosen if it never was.

    ``None`` where an ordinary account could listen at its port while it is down.
    """
    ports = kept_ports(directory)
    if ports.s3 not in protected_ports():
        return None
    return ProtectedPort(ports.s3, port_socket(ports))
