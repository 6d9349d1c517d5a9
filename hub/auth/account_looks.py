"""What this machine says of its accounts, now and again while they are in use.

Groups are left and accounts are locked while their people are signed in. Whoever was
asked about is therefore looked at again every few seconds: all who signed in, run a
server or have keys come by, as each of their requests is checked here.

A child process asks (see :mod:`spawners.common.accounts`): the hub neither waits for a
directory that hangs nor ends with a client library that crashes. While it cannot be
asked, what was seen last holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spawners.common import accounts

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""An answer is not older than this, if the directory answers."""
_EVERY_SECONDS = 3.0
_LOAD = 4  # rests at least this often as long as it asks: a fifth of the directory
_PATIENCE_SECONDS = 2.0
_TIMEOUT_SECONDS = 30.0
_KEEP_SECONDS = 86_400.0
_MOST_KNOWN = 20_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an account.

    Attributes:
        fault: why it may not be used; ``""`` if it may.
        groups: the names of its groups.
    """

    fault: str
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    look: Look
    seen: float
    wanted: float


class AccountLooks:
    """The accounts that matter, and what was seen of them last.

    Args:
        lowest_uid: accounts below are the system's.
        command: the child's argv; default: :mod:`spawners.common.accounts`.
    """

    def __init__(self, lowest_uid: int, command: Iterable[str] = ()) -> None:
        own = [sys.executable, "-I", "-S", accounts.__file__]
        self._command = list(command) or own
        self._lowest_uid = lowest_uid
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[Look | None]] = {}
        self._keeping: set[str] = set()
        self._child: asyncio.subprocess.Process | None = None
        self._work: asyncio.Task[None] | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._changed: Callable[[str, Look], None] | None = None
        self._failing = False

    async def look(
        self, name: str, fresh: float = FRESH_SECONDS, *, keep: bool = True
    ) -> Look | None:
        """Return what the machine says of ``name``, at most ``fresh`` seconds old.

        Where it cannot be asked now: what was seen last, or ``None`` for nothing.

        Args:
            name: whose.
            fresh: how old the answer may be, in seconds.
            keep: look again from now on. Not for names that anybody may type.
        """
        if not accounts.is_account_name(name):
            return Look(f"{accounts.brief(name)} is no account's name.")
        now = time.monotonic()
        known = self._known.get(name)
        if known is not None:
            known.wanted = now if keep else known.wanted
            self._known.move_to_end(name)
            if now - known.seen < fresh or self._failing:
                return known.look
        patience = _TIMEOUT_SECONDS if known is None else _PATIENCE_SECONDS
        answer = self._ask(name, keep=keep)
        await asyncio.wait([answer], timeout=patience)
        if answer.done() and (look := answer.result()) is not None:
            return look
        return known.look if known else None

    def refused(self) -> list[str]:
        """Return whose accounts were seen gone, locked or otherwise not usable."""
        return sorted(n for n, known in self._known.items() if known.look.fault)

    def start(
        self, names: Iterable[str], changed: Callable[[str, Look], None] | None = None
    ) -> None:
        """Look again and again at ``names``, and at all that are asked about.

        Args:
            names: who is signed in, as far as is known.
            changed: called with each account of which another thing is seen.
        """
        self._changed = changed
        self._rounds = asyncio.create_task(self._go_round(list(names)))

    async def close(self) -> None:
        """Stop looking, and end the child."""
        tasks = [task for task in (self._rounds, self._work) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end_child()

    async def _go_round(self, names: list[str]) -> None:
        names = [name for name in names if accounts.is_account_name(name)]
        while True:
            began = time.monotonic()
            names += [n for n, k in self._known.items() if _matters(k, began)]
            if questions := [self._ask(n, keep=True) for n in dict.fromkeys(names)]:
                await asyncio.wait(questions)
            names = []
            took = time.monotonic() - began
            await asyncio.sleep(max(_EVERY_SECONDS, _LOAD * took))

    def _ask(self, name: str, *, keep: bool) -> asyncio.Future[Look | None]:
        """Return what is seen of ``name`` once the child was asked."""
        if keep:
            self._keeping.add(name)
        future = self._wanted.get(name)
        if future is None:
            future = self._wanted[name] = asyncio.get_running_loop().create_future()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer_all())
        return future

    async def _answer_all(self) -> None:
        while self._wanted:
            names = list(self._wanted)[:_AT_ONCE]
            looks: dict[str, Look] = {}
            try:
                looks = await self._question(names)
                self._failing = False
            except (OSError, ValueError, TypeError, TimeoutError) as error:
                if not self._failing:
                    log.warning("Accounts cannot be looked at: %r", error)
                self._failing = True
                await self._end_child()
            self._note(looks)
            for name in names:
                future = self._wanted.pop(name)
                self._keeping.discard(name)
                if not future.done():
                    future.set_result(looks.get(name))

    def _note(self, looks: dict[str, Look]) -> None:
        now = time.monotonic()
        for name, look in looks.items():
            known = self._known.get(name)
            if known is None and name not in self._keeping:
                continue
            before = known.look if known else None
            if known is None:
                self._known[name] = _Known(look, now, now)
            else:
                known.look, known.seen = look, now
            if look != before:
                self._tell(name, look)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _tell(self, name: str, look: Look) -> None:
        try:
            if self._changed is not None:
                self._changed(name, look)
        except Exception:  # the next account's change is not this one's matter
            log.exception("Cannot act on what was seen of the account %s", name)

    async def _question(self, names: list[str]) -> dict[str, Look]:
        child = self._child
        if child is None or child.returncode is not None:
            child = self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                cwd="/",
                limit=2**26,
                start_new_session=True,
            )
        if child.stdin is None or child.stdout is None:
            raise OSError("the child has no pipes")
        child.stdin.write(json.dumps([names, self._lowest_uid]).encode() + b"\n")
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await child.stdin.drain()
            answer = json.loads(await child.stdout.readline())
        return {
            name: Look(str(fault), tuple(map(str, groups)))
            for name, (fault, groups) in answer.items()
        }

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _matters(known: _Known, now: float) -> bool:
    """Whether somebody asked about the account within a day."""
    return now - known.wanted < _KEEP_SECONDS
