"""From a target URL to an address that HAProxy can connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from .errors import BadRoute
from .maps import Target, split_target

Resolver = Callable[[str], Awaitable[str | None] | str | None]


async def resolve(url: str, resolver: Resolver | None) -> Target:
    """The target that ``url`` means; for https its host name is the TLS name.

    Args:
        url: ``http://host:port`` or ``https://name:port``.
        resolver: asked first; its ``None`` means that it does not know the name.

    Raises:
        BadRoute: not a URL we can reach, or nobody knows its address.
    """
    scheme, host, port = split_target(url)
    address = host if _is_address(host) else await _address_of(host, resolver)
    return Target(address, port, host if scheme == "https" else None)


async def _address_of(host: str, resolver: Resolver | None) -> str:
    if resolver is not None:
        answer = resolver(host)
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer is not None:
            return answer
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(host, None)
    except OSError as error:
        raise BadRoute(host, f"has no address: {error}") from error
    # What listens on "localhost" mostly does so on IPv4 only.
    addresses.sort(key=lambda address: address[0] != socket.AF_INET)
    return str(addresses[0][4][0])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
