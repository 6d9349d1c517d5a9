"""How the edge reaches the embedded store: by its socket, and faster by its port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.config.paths import LONGEST_SOCKET
from hub.config.settings import Settings
from services.edge.config import StorePort
from services.storage.address import SOCKET, protected_port
from spawners.common.ownership import NotOurs
from spawners.common.settings import ConfigError
from spawners.common.sockets import short_way


def store_directory(settings: Settings) -> Path:
    """Return the embedded store's own directory."""
    return settings.state / "store"


def store_socket(settings: Settings) -> Path:
    """Return the socket on which the embedded store speaks S3, whatever its port."""
    return _reachable(settings, SOCKET)


@dataclass(frozen=True, slots=True)
class PortNow:
    """Gives the port on which the embedded store speaks S3 now, with its proof.

    The one of last time, which is free or the store's; a store that finds it taken
    chooses another and keeps that. ``None`` where an ordinary account could listen
    there while the store is down: it would be believed until the proof is missed.
    """

    settings: Settings

    def __call__(self) -> StorePort | None:
        """Return it as it is now; chosen if there never was one."""
        port = protected_port(store_directory(self.settings))
        if port is None:
            return None
        return StorePort(port.number, _reachable(self.settings, port.socket))


def _reachable(settings: Settings, name: str) -> Path:
    """Return a path to a socket in the store's directory that the kernel can hold."""
    path = store_directory(settings) / "sock" / name
    try:
        return short_way(path, "store", LONGEST_SOCKET)
    except NotOurs as error:
        raise ConfigError(Path(error.filename), [str(error.strerror)]) from None
