"""An origin of its own for each user and each service: names below the hub's host.

Browsers keep apart what comes from different host names. With ``hub.subdomains =
"hub.example.org"`` the hub's pages are at that host, the servers of ada at
``ada.hub.example.org`` and the storage service at ``storage--service.hub.example.org``,
so that a page which a user's server sends is no page of the hub's, nor of anybody
else's.

Each name is one label, for a wildcard certificate covers no more. Two users never have
the same one, and no user has that of a service:

========== ======================= ===================================================
name       label                   rule
========== ======================= ===================================================
ada-l      ``ada-l``               letters, digits and single dashes: as it is
ada.l      ``ada-l--d``            after ``--`` stands for each dash what it was:
a_d-a      ``a-d-a--uh``           ``d`` a dot, ``u`` an underscore, ``h`` a dash
_ada, Zoé  ``u--`` and 32 letters  all other names: 160 bits of their SHA-256
========== ======================= ===================================================

A service's ends in ``--service``, which none of these does.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from .config.settings import Settings

_PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_READABLE = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_SIGNS = {".": "d", "_": "u", "-": "h"}
_SERVICE = "--service"
# Of a label, which may have 63 characters, there is room for what a service's has more.
_LONGEST = 63 - len(_SERVICE)
_DIGEST_BYTES = 20


def label_of(name: str) -> str:
    """Return the label that stands for a user of this name, and for nobody else."""
    label = ""
    if _PLAIN.fullmatch(name):
        label = name
    elif _READABLE.fullmatch(name):
        signs = "".join(_SIGNS[sign] for sign in re.sub("[a-z0-9]", "", name))
        label = f"{re.sub('[._]', '-', name)}--{signs}"
    if not label or len(label) > _LONGEST:
        return _digest(name)
    return label


def host_of(name: str, domain: str, kind: str) -> str:
    """Return the host of a user or service below ``domain``: JupyterHub's hook.

    Args:
        name: of the user or service.
        domain: the hub's own host.
        kind: ``user`` or ``service``.
    """
    if kind == "user":
        return f"{label_of(name)}.{domain}"
    label = label_of(name)
    if len(label) == 2:
        # "xn--" would announce another spelling.
        label = _digest(name)
    return f"{label}{_SERVICE}.{domain}"


def _digest(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return "u--" + base64.b32encode(digest[:_DIGEST_BYTES]).decode().lower()


def service_hosts(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Return the host of each service; none where all have the hub's."""
    domain = settings.hub.subdomains
    if not domain:
        return {}
    return {name: host_of(name, domain, "service") for name in names}


def service_url(settings: Settings, name: str) -> str:
    """Return where browsers find a service, with a slash at the end."""
    path = f"{settings.hub.base_url}services/{name}/"
    if not settings.hub.subdomains:
        return settings.origin + path
    host = host_of(name, settings.hub.subdomains, "service")
    return _origin_at(settings, host) + path


def any_origin(settings: Settings) -> str:
    """Return the origins of all users and services, as ``https://*.hub.example.org``."""
    return _origin_at(settings, f"*.{settings.hub.subdomains}")


def _origin_at(settings: Settings, host: str) -> str:
    here = urlsplit(settings.origin)
    return f"{here.scheme}://{host}{f':{here.port}' if here.port else ''}"


def host_cookies(settings: Settings) -> bool:
    """Whether cookies can be bound to their host, so that no other sets them.

    Browsers take ``__Host-`` cookies by https only.
    """
    return bool(settings.hub.subdomains) and settings.url.startswith("https://")
