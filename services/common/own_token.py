"""The token by which the hub knows a service; knows no JupyterHub, and so is light."""

from __future__ import annotations

from collections.abc import MutableMapping

from spawners.common.ownership import read_own


def take_token(environment: MutableMapping[str, str]) -> None:
    """Put the token by which the hub knows us where JupyterHub's clients look for it.

    It comes by a file, so that no other process of this account is started with it.

    Raises:
        NotOurs: the file is somebody else's, or open to others.
        OSError: it cannot be read.
    """
    file = environment.pop("LANDBRIDGE_TOKEN_FILE", "")
    if file:
        environment["JUPYTERHUB_API_TOKEN"] = read_own(file).decode("ascii").strip()
