"""Network addresses of hosts, in one form that can be compared."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address, ip_address


async def resolve(host: str) -> list[str]:
    """Return the addresses of a host; none if it cannot be resolved."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(5):
            found = await loop.getaddrinfo(host, None, type=1)
    except (OSError, TimeoutError):
        return []
    return list(dict.fromkeys(plain_address(str(entry[4][0])) for entry in found))


def plain_address(text: str) -> str:
    """Return an address in its one canonical form, ``""`` if it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def own_addresses(towards: list[str]) -> list[str]:
    """Return addresses of ours at which the nodes ``towards`` may reach us."""
    found: dict[str, None] = {}
    for target in towards:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))  # sends nothing: picks the interface
            except OSError:
                continue
            found[str(probe.getsockname()[0])] = None
    try:
        named = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        named = []
    found.update(dict.fromkeys(str(entry[4][0]) for entry in named))
    return list(found) or ["127.0.0.1"]
