"""The backends that model endpoints use: a pool, written to a file of its own.

HAProxy 2.8 can add servers while it runs, but no backend. So there is a pool of empty
backends (1,000 take 18 MB), and an endpoint is given one. A reload forgets servers that
were added at run time; the file says them too, and is written first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import BadRoute

FILE = "models.cfg"
AGAIN = "again"  # a request may be sent again if its replica went
ONCE = "once"  # it has effects: it is sent to one replica and no other
RPC = "rpc"  # gRPC, that is HTTP/2
KINDS = (AGAIN, ONCE, RPC)
# Who asks, what that key may, and which backend a model has: the maps of HAProxy.
KEYS = "model_keys.map"
GRANTS = "model_grants.map"
PLACES = "model_places.map"
RPC_PLACES = "model_rpc_places.map"
MAPS = (KEYS, GRANTS, PLACES, RPC_PLACES)

PROBE = "/v2/health/ready"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TLS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
_BACKEND = re.compile(r"^backend m_again_\d{4} from models_again$", re.M)


@dataclass(frozen=True)
class Replica:
    """One server of a backend.

    Attributes:
        name: small letters, digits, hyphens; names one job and is never used again.
        address: where it is: an IP address.
        port: where it listens.
        tls_name: what its certificate must say; ``None``: plain HTTP, for tests alone.
        at_once: requests that it gets at one time; the others wait in HAProxy.
        weight: 0 to 256, its share beside other replicas.
    """

    name: str
    address: str
    port: int
    tls_name: str | None = None
    at_once: int = 64
    weight: int = 100

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.address)
        except ValueError as error:
            raise BadRoute(self.address, "is not an IP address") from error
        if not _NAME.fullmatch(self.name):
            raise BadRoute(self.name, "is not a replica's name")
        if not 1 <= self.port <= 65535:
            raise BadRoute(str(self.port), "is not a port")
        if self.tls_name is not None and not _TLS_NAME.fullmatch(self.tls_name):
            raise BadRoute(self.tls_name, "is not a TLS name")
        if not 1 <= self.at_once <= 100_000 or not 0 <= self.weight <= 256:
            raise BadRoute(self.name, "has a bound that HAProxy does not know")

    def options(self, backend: str, trust: Trust) -> str:
        """All that is said of it, for the file and for ``add server`` alike.

        A server that is added inherits nothing, so everything is said each time.
        """
        rpc = kind_of(backend) == RPC
        host = f"[{self.address}]" if ":" in self.address else self.address
        words = [f"{host}:{self.port}"]
        if rpc:
            words.append("proto h2")
        if self.tls_name is not None:
            words += [
                f"ssl verify required ca-file {trust.authority}",
                f"verifyhost {self.tls_name} sni str({self.tls_name}) no-ssl-reuse",
                f"check-ssl check-sni {self.tls_name}",
            ]
            if trust.client:
                words.append(f"crt {trust.client}")
        # By connections alone: an error of the model's is no reason to take it away.
        words += [
            "check inter 1s fastinter 200ms downinter 500ms rise 1 fall 2",
            "observe layer4 on-error mark-down error-limit 1",
            "on-marked-down shutdown-sessions",
            f"maxconn {self.at_once} weight {self.weight}",
        ]
        return " ".join(words)


@dataclass(frozen=True)
class Models:
    """What the edge's configuration says of models.

    Attributes:
        activator: path of the socket of the process that answers when no replica can.
        backends: how many endpoints of each kind there is room for at first.
        queue_seconds: how long a request waits for a replica that is busy.
    """

    activator: str
    backends: int = 256
    queue_seconds: int = 30
    keys: str = KEYS
    grants: str = GRANTS
    places: str = PLACES
    rpc_places: str = RPC_PLACES
    probe: str = PROBE


@dataclass(frozen=True)
class Trust:
    """Files of the edge's directory: who signs replicas, and who we say we are."""

    authority: str
    client: str = ""


@dataclass(frozen=True)
class Pool:
    """All backends and what is in them. ``size``: backends of each kind."""

    size: int
    trust: Trust
    replicas: Mapping[str, tuple[Replica, ...]] = field(default_factory=dict)

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of all backends."""
        return tuple(
            f"m_{kind}_{number:04}" for kind in KINDS for number in range(self.size)
        )

    def with_replicas(self, backend: str, replicas: Iterable[Replica]) -> Pool:
        """The same pool with other servers in ``backend``."""
        if backend not in self.backends:
            raise BadRoute(backend, "is not a backend of the pool")
        changed = {**self.replicas, backend: tuple(replicas)}
        held = {name: servers for name, servers in changed.items() if servers}
        return Pool(self.size, self.trust, held)

    def text(self) -> str:
        """The file. A server in it begins in use: what is in the file has answered."""
        lines = ["# Written by Landbridge; changes are overwritten."]
        for backend in self.backends:
            lines.append(f"backend {backend} from models_{kind_of(backend)}")
            lines += [
                f"    server {replica.name} {replica.options(backend, self.trust)}"
                for replica in self.replicas.get(backend, ())
            ]
        return "\n".join(lines) + "\n"


def kind_of(backend: str) -> str:
    """Which of the :data:`KINDS` a backend of the pool is."""
    return backend.split("_")[1]


def size_of(text: str) -> int:
    """Backends of each kind in a file of ours; 0 for anything else."""
    return len(_BACKEND.findall(text))
