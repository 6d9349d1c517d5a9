"""Cookies that another page has planted beside the hub's own, and how they are removed.

A script may write a cookie of any name for any path of its host. It cannot change the
hub's own, which scripts do not see; but a browser sends both, and does not say which is
whose. So of several the hub takes the one that is good, and has the browser forget the
others: their paths must be some beginning of the address that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tornado.httputil import parse_cookie


def values_of(handler: Any, name: str) -> list[str]:
    """Return every value that the browser sent for a cookie."""
    headers = handler.request.headers.get_list("Cookie")
    chunks = [chunk for header in headers for chunk in header.split(";")]
    return [cookie[name] for cookie in map(parse_cookie, chunks) if name in cookie]


def forget_planted(handler: Any, name: str, path: str, own_path: str) -> None:
    """Have the browser forget cookies of this name that are sent with a path.

    Args:
        handler: that answers.
        name: of the cookie.
        path: that the browser asked for, or will.
        own_path: where the hub's own is, which is kept.
    """
    host = handler.request.host.rpartition(":")[0] or handler.request.host
    domains = ["", f"; Domain={host}"] if _is_name(host) else [""]
    # The hub's own are at none of these: a host beside it may be another's.
    above = [f"; Domain={parent}" for parent in _parents(host)]
    for place in beginnings(path):
        for domain in (domains if place != own_path else []) + above:
            gone = f"{name}=; Max-Age=0; Path={place}{domain}"
            handler.add_header("Set-Cookie", gone)


def beginnings(path: str) -> Iterator[str]:
    """Yield each path whose cookies are sent with this one."""
    yield "/"
    so_far = ""
    for part in path.partition("?")[0].strip("/").split("/")[:12]:
        so_far += f"/{quote(part, safe='%@~+!$&()*=:,.-_')}"
        yield so_far
        yield f"{so_far}/"


def _parents(host: str) -> list[str]:
    """Return the domains above a host whose cookies a browser may send to it."""
    labels = host.split(".") if _is_name(host) else []
    return [".".join(labels[start:]) for start in range(1, len(labels) - 1)]


def _is_name(host: str) -> bool:
    return any(sign.isalpha() for sign in host) and ":" not in host
