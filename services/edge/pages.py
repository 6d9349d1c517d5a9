"""What a reader is told when HAProxy has to answer by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

STATUSES = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
_LATER = "Too Many Requests"


@dataclass(frozen=True)
class Page:
    """One page, for people and for programs.

    Attributes:
        name: begins the names of its files.
        title, text: for people.
        message: for programs.
        statuses: that it is sent with, and their reasons.
        again_seconds: when to try again; 0: the same would come to nothing again.
        reloads: the page tries again by itself.
    """

    name: str
    title: str
    text: str
    message: str
    statuses: Mapping[int, str]
    again_seconds: int = 5
    reloads: bool = True


PAGES = (
    Page(
        "hub",
        "The gateway is restarting",
        "Servers and jobs that run are not affected. This page tries again by itself.",
        "The hub is restarting; try again in a few seconds.",
        STATUSES,
    ),
    Page(
        "target",
        "This server does not answer",
        "It may still be starting, or its job may have ended. "
        "This page tries again by itself.",
        "The server behind this address does not answer.",
        STATUSES,
    ),
    Page(
        "large",
        "That is more than the gateway takes",
        "What was sent is larger than anything that the gateway's own pages send. "
        "Files are uploaded in your server or on the storage page.",
        "The body of this request is larger than the hub takes.",
        {413: "Content Too Large"},
        again_seconds=0,
        reloads=False,
    ),
    Page(
        "slow",
        "What you sent did not arrive in time",
        "The connection may be bad. Go back and send it again.",
        "The body of this request did not arrive in time.",
        {408: "Request Timeout"},
        reloads=False,
    ),
    Page(
        "sign-in",
        "Too many failed sign-ins",
        "There were too many from your network in the last minutes. Wait a few "
        "minutes, then go back and try again. Anyone already signed in can go on "
        "working.",
        "Too many failed sign-ins from your network; try again in a few minutes.",
        {429: _LATER},
        again_seconds=120,
        reloads=False,
    ),
    Page(
        "crowd",
        "Too many connections",
        "Your network or this server has too many connections open at the moment. "
        "Close tabs that you do not need. This page tries again by itself.",
        "Too many connections are open from your network or to this server.",
        {429: _LATER},
        again_seconds=10,
    ),
    # Where each user and service has a host of its own: what no host serves.
    Page(
        "elsewhere",
        "There is nothing at this address",
        "A link or bookmark may be wrong, or what was here has moved.",
        "There is nothing at this host and path.",
        {404: "Not Found"},
        again_seconds=0,
        reloads=False,
    ),
)


def render_pages(environment: Environment, home: str) -> dict[str, bytes]:
    """Return every page as HAProxy's ``errorfile`` reads it, by its file's name."""
    files: dict[str, bytes] = {}
    for page in PAGES:
        for status, reason in page.statuses.items():
            facts: dict[str, Any] = {
                "page": page,
                "status": status,
                "reason": reason,
                "home": home,
            }
            for kind in ("html", "json"):
                text = environment.get_template(f"{kind}.http").render(facts)
                name = f"{page.name}-{kind}-{status}.http"
                files[name] = text.replace("\n", "\r\n").encode()
    return files
