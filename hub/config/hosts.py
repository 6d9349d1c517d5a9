"""Under which host names the gateway is served.

A page of another site can give its own name this machine's address after it was
loaded (DNS rebinding), and is then of the same origin as what answers here. What it
cannot change is the Host header, which holds its name. So only names that belong to
the gateway are served. One that begins with a dot stands for all that end in it.

An address in digits is always served and needs no entry: it is looked up nowhere, so
nobody can point it elsewhere, and a page whose origin it is came from there.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from services.jobs.settings import Site

from .settings import Settings, is_loopback

_LOCAL = "localhost"


def served_hosts(settings: Settings) -> list[str]:
    """Return the names that browsers may use, sorted.

    The one in ``hub.public_url``, ``localhost``, those in ``hub.hosts``, that of
    ``hub.subdomains`` with all below it, and where the gateway listens on more than
    loopback, the machine's own.
    """
    hub = settings.hub
    names = {_LOCAL, *hub.hosts, _name_in(hub.public_url)}
    if hub.subdomains:
        names |= {hub.subdomains, f".{hub.subdomains}"}
    names.add(hub.bind_address.lower())
    if not is_loopback(hub.bind_address):
        names |= own_names()
    return _sorted(names)


def jobs_hosts(settings: Settings, site: Site) -> list[str]:
    """Return the names by which jobs may reach their frontend, sorted."""
    names = {*served_hosts(settings), *own_names(), site.jobs_address.lower()}
    return _sorted(names)


def own_names() -> set[str]:
    """Return what this machine calls itself, with and without its domain."""
    names = {socket.gethostname(), socket.getfqdn()}
    short = {name.partition(".")[0] for name in names}
    return {name.lower().rstrip(".") for name in names | short}


def _name_in(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".") if url else ""


def _sorted(names: set[str]) -> list[str]:
    """Drop what is an address or nothing: those need no entry."""
    return sorted(name for name in names if name and not _is_address(name))


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
