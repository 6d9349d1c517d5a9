"""The near side of S3 keys for kernels in jobs; the far one is a program of the job.

Whoever has keys to give (the notebook server's extension) says so once by
:func:`offer`. Kernels that start after that get the variables, and what they ask
comes here, from whichever job and for as long as this process is attached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spawners.node.kernel.credentials import loopback_identity
from spawners.node.kernel.names import Json

from .tunnel import Tunnel

Answer = tuple[int, str, str]
"""HTTP status, content type, text."""


@dataclass(frozen=True, slots=True)
class KeyOffer:
    """Keys that kernels in jobs may have.

    Attributes:
        here, elsewhere: return the variables that a kernel gets beside those it has:
            one that shares this process's loopback, and one that does not. Whole
            values ``{url}``, ``{token}`` and ``{rclone}`` are filled on its node.
        ours: variables of this process that are no choice of the user's.
        process: text of a ``credential_process``.
        answer: returns what the loopback address says to a path, a kernel's id and
            the path of its notebook; may block.
        ended: called with the id of each kernel that has ended; does not block.
    """

    here: Callable[[Mapping[str, str]], Mapping[str, str]]
    elsewhere: Callable[[Mapping[str, str]], Mapping[str, str]]
    ours: Mapping[str, str]
    process: str
    answer: Callable[[str, str, str], Answer]
    ended: Callable[[str], None]


_offers: list[KeyOffer] = []


def offer(keys: KeyOffer) -> None:
    """Give keys to kernels that start from now on."""
    _offers[:] = [keys]


def prepare(env: dict[str, str]) -> Json | None:
    """Return what a launcher is told of keys; takes ours out of a kernel's ``env``."""
    if not _offers:
        return None
    keys = _offers[0]
    for name, value in keys.ours.items():
        if env.get(name) == value:
            del env[name]
    return {
        "identity": loopback_identity(),
        "here": dict(keys.here(env)),
        "elsewhere": dict(keys.elsewhere(env)),
        "process": keys.process,
    }


async def answer(message: Json, kernel_id: str, notebook: str, tunnel: Tunnel) -> None:
    """Answer what a program in a kernel's job asks for."""
    status, kind, text = 503, "text/plain", "The notebook server has no keys.\n"
    if _offers:
        target = str(message.get("target"))
        loop = asyncio.get_running_loop()
        status, kind, text = await loop.run_in_executor(
            None, _offers[0].answer, target, kernel_id, notebook
        )
    reply = {"op": "keys", "asker": message.get("asker"), "status": status}
    tunnel.tell({**reply, "type": kind, "text": text})


def ended(kernel_id: str) -> None:
    """Tell that a kernel has ended, and its keys with it."""
    for keys in _offers:
        keys.ended(kernel_id)
