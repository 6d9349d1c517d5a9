"""Ports of the embedded store: chosen once, kept, and free of other accounts.

SeaweedFS also makes a socket in ``/tmp`` for each port of gRPC, at a path that no
option changes, and its parts speak by that alone. Where it sees the ``/tmp`` that all
see (:mod:`.private_tmp` says when), a port whose path another account has is not free.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spawners.common.files import write_whole

from ..s3.errors import StoreUnavailable

_GRPC_OFFSET = 10_000
# The ephemeral range is above: any connection takes ports there before SeaweedFS does.
_HIGH = range(12_000, 22_000)
# As services that want a reserved port and no certain one have it from bindresvport(3).
_LOW = range(600, 1024)
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PORTS = "ports.json"
_SHARED = Path("/tmp")  # noqa: S108 -- SeaweedFS's choice


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each part; each also takes the one 10,000 above for gRPC."""

    master: int
    volume: int
    filer: int
    s3: int
    admin: int

    def all(self) -> tuple[int, ...]:
        """Return all ten."""
        low = tuple(asdict(self).values())
        return low + tuple(port + _GRPC_OFFSET for port in low)

    def shared_sockets(self) -> tuple[Path, ...]:
        """Return where SeaweedFS makes its sockets for gRPC, as it sees ``/tmp``."""
        return tuple(_shared_socket(*part) for part in asdict(self).items())

    def as_json(self) -> dict[str, int]:
        """Return them by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ports:
        """Return what :meth:`as_json` gave."""
        names = ("master", "volume", "filer", "s3", "admin")
        return cls(**{name: int(data[name]) for name in names})


def port_socket(ports: Ports) -> str:
    """Return the name of the socket that proves who listens at the S3 port.

    Anybody may listen at a port that the store does not have just now. The name holds
    the port, so a store that went to another one no longer answers for the old one.
    """
    return f"s3-{ports.s3}.sock"


def kept_ports(directory: Path) -> Ports:
    """Return the ports of last time, free or not; chosen now if there was none.

    Raises:
        StoreUnavailable: none was ever chosen, and none is free.
    """
    return _read(directory) or _choose(directory, None, {})


def protected_ports() -> range:
    """Return the ports of S3 that no ordinary account can bind; none if not even we.

    There the gateway may carry objects by TCP, which the kernel does at half the cost:
    nobody else listens there while the store is being started again.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return range(0)
    try:
        first = int(_UNPRIVILEGED.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return range(0)
    return range(_LOW.start, min(first, _LOW.stop))


def choose_ports(directory: Path, owner: int | None = None) -> Ports:
    """Return free ports: those of last time, others for parts whose port is taken.

    Args:
        directory: the store's own, which keeps them for next time.
        owner: the store's uid, if it sees the ``/tmp`` of all. The paths of its sockets
            there are then taken for it, so that nobody gets between this and its start.

    Raises:
        StoreUnavailable: so many are taken that none is left.
    """
    kept = _read(directory)
    return _choose(directory, owner, {} if kept is None else kept.as_json())


def stolen_sockets(ports: Ports, owner: int) -> list[Path]:
    """Return what another account has where the store makes its sockets in ``/tmp``."""
    return [
        path for path in ports.shared_sockets() if _owner(path) not in (owner, None)
    ]


def _read(directory: Path) -> Ports | None:
    try:
        return Ports.from_json(json.loads((directory / _PORTS).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _choose(directory: Path, owner: int | None, kept: Mapping[str, int]) -> Ports:
    chosen: dict[str, int] = {}
    given: set[int] = set()
    for part in ("master", "volume", "filer", "s3", "admin"):
        tried = _shuffled(_HIGH)
        if part == "s3":
            tried = [*_shuffled(protected_ports()), *tried]
        if part in kept:
            tried = [kept[part], *tried]
        chosen[part] = _first_free(part, tried, given, owner)
        given |= {chosen[part], chosen[part] + _GRPC_OFFSET}
    if chosen != kept:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(directory / _PORTS, json.dumps(chosen))
    return Ports(**chosen)


def _shuffled(ports: Iterable[int]) -> list[int]:
    drawn = list(ports)
    secrets.SystemRandom().shuffle(drawn)
    return drawn


def _first_free(
    part: str, tried: Iterable[int], given: set[int], owner: int | None
) -> int:
    for port in tried:
        pair = {port, port + _GRPC_OFFSET}
        if pair & given or not all(_free(number) for number in pair):
            continue
        if owner is None or _take(_shared_socket(part, port), owner):
            return port
    path = _shared_socket(part, 0).with_name(f"seaweedfs-{part}-grpc-*.sock")
    raise StoreUnavailable(
        f"No port is free for the embedded store's {part}.",
        hint=f"See who listens on loopback, and who owns {path}.",
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _shared_socket(part: str, port: int) -> Path:
    return _SHARED / f"seaweedfs-{part}-grpc-{port + _GRPC_OFFSET}.sock"


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None


def _take(path: Path, owner: int) -> bool:
    """Have ``path`` for ``owner``, who puts a socket there; whether that could be.

    ``/tmp`` is sticky: what is there can be removed by its owner alone.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _owner(path) == owner
    try:
        if owner != os.geteuid():
            os.fchown(descriptor, owner, -1)
    finally:
        os.close(descriptor)
    return True
