"""A kernel as a notebook server would start it: the same variables, and no others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import textwrap
import threading
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from landbridge_lab.gateway.storage import StorageService
from landbridge_lab.keys.endpoint import Offer, offer
from rigs.checkout import CHECKOUT
from rigs.clients.code import PRELUDE
from rigs.lab.storage_stub import Json, StorageStub
from rigs.stores.sites import Site, StoreFacts
from services.storage.s3.values import Grant, Mode, Session

Result = TypeVar("Result")


class CredentialSource:
    """Answers ``POST credentials`` by sessions of a real store.

    Attributes:
        stated_life: seconds that the keys say they live, if not an hour.
        sessions: all that were given out.
    """

    def __init__(self, facts: StoreFacts) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._site = self.run(self._open(facts))
        self.stated_life: float | None = None
        self.sessions: list[Session] = []
        self._ends: list[asyncio.TimerHandle] = []
        self._ending: list[asyncio.Task[None]] = []
        self.mine = self.run(self._site.bucket("alice"))
        self.foreign = self.run(self._site.bucket("bob"))
        put = self._site.client.put
        self.run(put(self.foreign, "secret", b"bob's"))

    @staticmethod
    async def _open(facts: StoreFacts) -> Site:
        return Site(facts)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def issue(self, body: Json) -> Json:
        """Keys to the bucket ``mine``, or to what is asked of it."""
        grants = [
            Grant(each["bucket"], each["prefix"], Mode(each["mode"]))
            for each in body.get("grants") or ()
        ] or [Grant(self.mine, "", Mode.READ_WRITE)]
        session = self.run(self._site.sts.issue("alice", grants))
        self.sessions.append(session)
        expires = session.expires
        if self.stated_life is not None:
            expires = datetime.now(UTC) + timedelta(seconds=self.stated_life)
            self._loop.call_soon_threadsafe(self._end_later, session, self.stated_life)
        assert expires is not None
        return {
            "id": session.name,
            "access_key": session.key.access_key,
            "secret_key": session.key.secret_key,
            "session_token": session.key.token,
            "expires": expires.isoformat(),
            "grants": [],
            "left_out": [],
        }

    def _end_later(self, session: Session, seconds: float) -> None:
        """Make the stated end true."""
        self._ends.append(self._loop.call_later(seconds, self._end, session))

    def _end(self, session: Session) -> None:
        self._ending.append(self._loop.create_task(self._site.sts.revoke(session)))

    def revoke(self, session: Session) -> None:
        self.run(self._site.sts.revoke(session))

    async def _settle(self) -> None:
        """Drop the ends that are still to come; wait for those under way."""
        for end in self._ends:
            end.cancel()
        await asyncio.gather(*self._ending)
        await self._site.close()

    def close(self) -> None:
        self.run(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Kernel:
    """Fresh interpreters with what a notebook server gives to its kernels.

    Args:
        python: of the environment with the clients.
        source: where keys come from.
        home: an empty home directory.
    """

    def __init__(self, python: str, source: CredentialSource, home: Path) -> None:
        self.python = python
        self.source = source
        self.home = home
        self.stub = StorageStub(source._site.facts.endpoint)
        self.stub.me["bucket"] = source.mine
        self.stub.issue = source.issue
        self.stub.buckets = {
            "buckets": [
                {"name": source.mine, "prefix": "", "mode": "read-write", "why": "own"}
            ],
        }
        service = StorageService.of(self.stub.environment)
        assert service is not None
        self.offer: Offer = offer(service, {}, home)

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of a kernel."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(CHECKOUT / "extensions" / "client"),
            "MINE": self.source.mine,
            "FOREIGN": self.source.foreign,
            **self.offer.variables,
        }

    def start(self, code: str, **more: str) -> subprocess.Popen[str]:
        """Start a program; its output comes by a pipe."""
        return subprocess.Popen(
            [self.python, "-u", "-W", "ignore", "-c", PRELUDE + textwrap.dedent(code)],
            env={**self.variables, **more},
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, code: str, *, seconds: float = 90, **more: str) -> str:
        """Run a program to its end and return what it printed."""
        with self.start(code, **more) as process:
            try:
                printed, _ = process.communicate(timeout=seconds)
            finally:
                process.kill()
        assert process.returncode == 0, printed[-3000:]
        return printed.strip()

    def program(
        self, *words: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run any program."""
        return subprocess.run(
            words,
            env={**self.variables, **(more or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        self.offer.close()
        self.stub.close()
