"""Every socket on which processes listen, from the kernel's own tables."""

from __future__ import annotations

import ipaddress
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LISTENS = "0A"
_ACCEPTS = 1 << 16


@dataclass(frozen=True)
class Listener:
    """One listening socket.

    Attributes:
        pid: of a process that has it.
        uid: of whoever made it.
        host, port: of TCP.
        path: of a Unix socket; begins with ``@`` where it has no file.
    """

    pid: int
    uid: int
    host: str = ""
    port: int = 0
    path: str = ""


def processes_with(marks: Iterable[str]) -> set[int]:
    """Pids whose arguments, environment or directory hold one of the words."""
    words = [os.fsencode(mark) for mark in marks]
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            said += os.fsencode((path / "cwd").readlink())
        except OSError:
            continue
        if any(word in said for word in words) and int(path.name) != os.getpid():
            found.add(int(path.name))
    return found


def listeners(pids: Iterable[int]) -> list[Listener]:
    """All sockets on which these processes listen."""
    holders: dict[int, int] = {}
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                match = re.fullmatch(r"socket:\[(\d+)\]", str(path.readlink()))
            except OSError:
                continue
            if match:
                holders[int(match[1])] = pid
    return [
        *_tcp(Path("/proc/net/tcp"), holders),
        *_tcp(Path("/proc/net/tcp6"), holders),
        *_unix(holders),
    ]


def _tcp(table: Path, holders: dict[int, int]) -> list[Listener]:
    found = []
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        inode = int(fields[9])
        if fields[3] == _LISTENS and inode in holders:
            host, _, port = fields[1].partition(":")
            uid = int(fields[7])
            found.append(Listener(holders[inode], uid, _address(host), int(port, 16)))
    return found


def _address(text: str) -> str:
    words = struct.pack(
        f">{len(text) // 8}I",
        *struct.unpack(f"<{len(text) // 8}I", bytes.fromhex(text)),
    )
    return str(ipaddress.ip_address(words))


def _unix(holders: dict[int, int]) -> list[Listener]:
    found = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        inode = int(fields[6])
        if int(fields[3], 16) & _ACCEPTS and inode in holders:
            path = fields[7] if len(fields) > 7 else "@"
            uid = Path(f"/proc/{holders[inode]}").stat().st_uid
            found.append(Listener(holders[inode], uid, path=path))
    return found
