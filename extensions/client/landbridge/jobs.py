"""The job that this program runs in: :func:`on_time_limit`.

::

    @landbridge.jobs.on_time_limit
    def save(seconds):
        torch.save(model.state_dict(), "checkpoint.pt")
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound=Callable[[float], object])

_VARIABLE = "LANDBRIDGE_EVENTS"
_hooks: list[Callable[[float], object]] = []
_lock = threading.Lock()
_listening: int | None = None  # the process that does: a fork has none
_told: float | None = None


def on_time_limit(hook: Hook) -> Hook:
    """Call ``hook(seconds)`` once, shortly before this job's time limit.

    ``seconds`` is about how long is left. It runs in a thread of its own, also while
    a cell computes, so it should read what it needs and write it down. If the warning
    came before, it runs at once. Outside a kernel's job it is never called.

    Returns:
        The hook, so that this is a decorator, too.
    """
    with _lock:
        seconds = _told
        if seconds is None:
            _hooks.append(hook)
            _listen()
    if seconds is not None:
        _start(hook, seconds)
    return hook


def _listen() -> None:
    global _listening
    path = os.environ.get(_VARIABLE)
    if not path or _listening == os.getpid():
        return
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        log.warning("The job's time limit will not be told: %s", error)
        return
    _listening = os.getpid()
    threading.Thread(
        target=_wait, args=(connection,), name="landbridge-time-limit", daemon=True
    ).start()


def _wait(connection: socket.socket) -> None:
    global _listening, _told
    with connection, connection.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == "time-limit":
                with _lock:
                    seconds = _told = float(event.get("seconds") or 0)
                    hooks, _hooks[:] = list(_hooks), []
                for hook in hooks:
                    _start(hook, seconds)
    with _lock:
        _listening = None


def _start(hook: Callable[[float], object], seconds: float) -> None:
    def run() -> None:
        try:
            hook(seconds)
        except Exception:
            log.exception("A hook of the time limit failed")

    threading.Thread(target=run, name="landbridge-hook").start()
