"""Routes as HAProxy sees them: keys and values of a map, and the files behind it.

A key is the routespec in one canonical spelling: every byte that is not a letter,
a digit or one of ``-_.~`` is percent-encoded, the slashes too. HAProxy brings the
path of each request into the same spelling (``url_dec,url_enc``), so that
``/user/zo%c3%a9/``, ``/user/zo%C3%A9/`` and ``%40`` for ``@`` find the same route.
An encoded slash stays different from a slash.

A value is ``address|port|name``, and of a user's server ``address|port|name|owner``.
``name`` is what the target's certificate must say and the TLS server name we send;
``-`` means plain http. ``owner`` is the user, in the spelling of keys. The value
``hub`` is the hub itself, and ``service|NAME|-`` a service of the gateway: HAProxy
reaches each by a server of its own, on a socket.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from spawners.common.sockets import service_of_url, service_url

from .errors import BadRoute

PLAIN = "-"
HUB = "hub"
_SERVICE = "service"
_SLASH = "%00"  # stands for an encoded slash: a NUL is in no path that we serve
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
# a DNS name whose last label has a letter: an IP address cannot be sent as a TLS
# server name, and without one HAProxy would verify no name at all
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_TLS_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[0-9-]*[a-z]){_LABEL}")
_FORMAT = 1


@dataclass(frozen=True)
class Target:
    """Where requests go: an address, a port, and who must answer there.

    Attributes:
        address: IPv4 or IPv6, without brackets.
        port: 1 to 65535.
        name: the TLS name that is sent and verified; ``None`` for plain http.
    """

    address: str
    port: int
    name: str | None = None

    def __post_init__(self) -> None:
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError as error:
            raise BadRoute(self.address, "is not an IP address") from error
        if address.is_unspecified or address.is_multicast:
            raise BadRoute(self.address, "is not an address one can connect to")
        if not 1 <= self.port <= 65535:
            raise BadRoute(str(self.port), "is not a port")
        if self.name is not None and not _TLS_NAME.fullmatch(self.name):
            raise BadRoute(self.name, "is not a TLS name")

    @property
    def value(self) -> str:
        """The map's value, e.g. ``10.0.0.7|41234|j-5f2c.landbridge.internal``."""
        return f"{self.address}|{self.port}|{self.name or PLAIN}"

    @classmethod
    def from_value(cls, value: str) -> Target:
        """Read a map's value back. Raises BadRoute on anything that is not one."""
        parts = value.split("|")
        if len(parts) != 3 or not parts[1].isdecimal():
            raise BadRoute(value, "is not a map value of ours")
        name = None if parts[2] == PLAIN else parts[2]
        return cls(parts[0], int(parts[1]), name)

    @property
    def url(self) -> str:
        """The URL that JupyterHub would have given for this target."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        if self.name is None:
            return f"http://{host}:{self.port}"
        return f"https://{self.name}:{self.port}"


@dataclass(frozen=True)
class ServiceTarget:
    """A service of the gateway, by its name: its socket stands in the configuration.

    Attributes:
        name: small letters, digits and hyphens.
    """

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(_LABEL, self.name):
            raise BadRoute(self.name, "is not a service's name")

    @property
    def value(self) -> str:
        """The map's value, e.g. ``service|storage|-``."""
        return f"{_SERVICE}|{self.name}|{PLAIN}"

    @property
    def url(self) -> str:
        """The URL that JupyterHub knows it by; nobody resolves this name."""
        return service_url(self.name)

    @classmethod
    def from_url(cls, url: str) -> ServiceTarget | None:
        """Return the service that ``url`` means; ``None`` if it means none."""
        name = service_of_url(url)
        return None if name is None else cls(name)


def target_of(value: str) -> Target | ServiceTarget:
    """Read a map's value back. Raises BadRoute on anything that is not one."""
    kind, _, rest = value.partition("|")
    if kind == _SERVICE and rest.endswith(f"|{PLAIN}"):
        return ServiceTarget(rest.removesuffix(f"|{PLAIN}"))
    return Target.from_value(value)


@dataclass(frozen=True)
class Route:
    """One routespec of JupyterHub's.

    Attributes:
        routespec: ``/path/`` or ``host/path/``, as JupyterHub wrote it.
        url: the target URL, as JupyterHub wrote it.
        target: resolved; ``None`` when the hub itself is meant.
        data: JupyterHub's own notes about the route.
    """

    routespec: str
    url: str
    target: Target | ServiceTarget | None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The map's key."""
        return key_of(self.routespec)

    @property
    def value(self) -> str:
        """The map's value."""
        if self.target is None:
            return HUB
        return f"{self.target.value}|{self.owner}" if self.owner else self.target.value

    @property
    def owner(self) -> str:
        """Whose server it leads to, in the keys' spelling; ``""`` if to no user's."""
        return quote(str(self.data.get("user", "")), safe="")


def key_of(routespec: str) -> str:
    """The canonical spelling of a routespec, which is the map's key.

    Raises:
        BadRoute: no slash at its end, or control characters in it.
    """
    if not routespec.endswith("/"):
        raise BadRoute(routespec, "a routespec ends with a slash")
    host, slash, path = routespec.partition("/")
    raw = unquote_to_bytes(host.lower() + slash + path)
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        raise BadRoute(routespec, "holds control characters")
    kept = _ENCODED_SLASH.sub(_SLASH, host.lower() + slash + path)
    return quote(unquote_to_bytes(kept), safe="")


def route_of(key: str, value: str) -> Route:
    """Return the route that an entry of the map stands for, but what JupyterHub noted.

    Raises:
        BadRoute: no entry of ours, or the hub's own.
    """
    target, owner = value, ""
    if value.count("|") == 3:
        target, _, owner = value.rpartition("|")
    parsed = target_of(target)
    data = {"user": unquote(owner)} if owner else {}
    return Route(routespec_of(key), parsed.url, parsed, data)


def routespec_of(key: str) -> str:
    """A routespec for ``key``, spelled as JupyterHub spells its own."""
    path = unquote(key.replace("%2F", "/"))
    return quote(path, safe="@~/").replace(_SLASH, "%2F")


def split_target(url: str) -> tuple[str, str, int]:
    """Take a target URL apart: scheme (``http`` or ``https``), host, port.

    Raises:
        BadRoute: another scheme (unix sockets too), no host, or a path.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise BadRoute(url, str(error)) from error
    if parts.scheme not in {"http", "https"}:
        raise BadRoute(url, "a target is http://host:port or https://host:port")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise BadRoute(url, "a target has a host and a port and nothing else")
    return parts.scheme, parts.hostname, port


def map_text(entries: Mapping[str, str]) -> str:
    """A map file as HAProxy loads it: one ``key value`` a line."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def journal_line(route: Route) -> str:
    """One route as one line of JSON."""
    row = {
        "routespec": route.routespec,
        "url": route.url,
        "target": route.target.value if route.target else None,
        "data": dict(route.data),
    }
    return json.dumps(row) + "\n"


def journal_text(lines: Iterable[str]) -> bytes:
    """The lines of all routes after a head with their checksum.

    A torn file is known by it as one.
    """
    body = "".join(lines).encode()
    head = {"format": _FORMAT, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head).encode() + b"\n" + body


def load_routes(path: Path) -> list[Route] | None:
    """Read a journal; ``None`` if it is missing, torn or foreign."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest() != json.loads(head)["sha256"]:
            return None
        return [
            Route(
                routespec=row["routespec"],
                url=row["url"],
                target=target_of(row["target"]) if row["target"] else None,
                data=row["data"],
            )
            for row in map(json.loads, body.splitlines())
        ]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return None
