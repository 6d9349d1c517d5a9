"""The idle culler, which reaches the hub by its socket: ``python -m hub.run.culler``.

``jupyterhub_idle_culler`` asks with Tornado's HTTP client, which knows only names and
ports. So the hub gets a name here that means its socket, and no other name means
anything: the culler's token goes nowhere else.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from tornado.netutil import Resolver

from services.common.own_token import take_token
from spawners.common.sockets import socket_of_url

_HUB = "hub.landbridge.internal"
_MODULE = "jupyterhub_idle_culler"


class HubResolver(Resolver):
    """Finds the hub's socket under its name, and nothing else."""

    path: str

    def initialize(self, path: str) -> None:
        """Take the socket's path, as ``Resolver.configure`` gives it."""
        self.path = path

    async def resolve(
        self, host: str, port: int, family: int = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Return the socket's address.

        Raises:
            OSError: another name.
        """
        if host != _HUB:
            raise OSError(f"The culler asks only the hub, and not {host!r}.")
        return [(socket.AF_UNIX, self.path)]


def use_socket(api_url: str) -> str:
    """Have Tornado's clients reach the hub by the socket in ``api_url``.

    Returns:
        The API's URL for them.
    """
    path = socket_of_url(api_url)
    if path is None:
        raise ValueError(f"not the URL of a socket: {api_url!r}")
    Resolver.configure(HubResolver, path=path)
    # The culler prefers curl where it finds it, and that resolves names by itself.
    sys.modules["pycurl"] = None  # type: ignore[assignment]
    return f"http://{_HUB}{urlsplit(api_url).path}"


if __name__ == "__main__":
    take_token(os.environ)
    os.environ["JUPYTERHUB_API_URL"] = use_socket(os.environ["JUPYTERHUB_API_URL"])
    sys.argv[0] = _MODULE
    runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
