"""Copies between the home directory and buckets, done here and written down.

A copy goes file by file in a fixed order, a few at a time. What is done is in its
journal (``landbridge/copies/ID.json`` in Jupyter's data directory) before the next few
begin, so that a copy which the server's end interrupted can go on. No file and no
object appears before it is whole, and none is replaced unless that was asked for.

A user's other servers have the same journal: what one of them copies is shown here as
it stands there, and is theirs to do.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any  # facts of a copy, and the bucket of tests

from ..gateway.storage import ServiceFailed, StorageService
from .bucket import Bucket, ObjectRefused
from .files import FileRefused, Root, parts_of
from .journal import OVER, Journal
from .work import Copy, CopyCancelled, Work

log = logging.getLogger(__name__)

_RUNNING_AT_ONCE = 2
_KEPT = 50


class Copies:
    """All copies of this server.

    Args:
        service: the gateway's storage service.
        root: the notebook server's root directory.
        journal: a directory for what is written down.
        open_bucket: replaces the bucket in tests.
        active: is called while something is copied, so that nobody thinks us idle.
    """

    def __init__(
        self,
        service: StorageService,
        root: Path,
        journal: Path,
        open_bucket: Callable[..., Any] = Bucket.open,
        active: Callable[[], None] = lambda: None,
    ) -> None:
        self._service = service
        self._root = Root(root)
        self._journal = Journal(journal)
        self._open_bucket = open_bucket
        self._active = active
        self._copies: dict[str, Copy] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        self._turns = asyncio.Semaphore(_RUNNING_AT_ONCE)

    def list(self) -> list[Copy]:
        """Return the copies, newest first."""
        self._look_again()
        return sorted(self._copies.values(), key=lambda copy: -copy.created)

    def get(self, copy_id: str) -> Copy | None:
        """Return one of them."""
        self._look_again()
        return self._copies.get(copy_id)

    def begin(self, **facts: Any) -> Copy:
        """Begin a copy; see :class:`Copy` for what may be wished for.

        Raises:
            FileRefused: a path leads out of the root directory.
        """
        copy = Copy(id=secrets.token_hex(8), **facts)
        for path in copy.names if copy.kind == "from-home" else [copy.target]:
            parts_of(path)
        self._forget_old()
        self._start(copy)
        return copy

    def resume(self, copy: Copy) -> None:
        """Go on with a copy that was interrupted."""
        if copy.phase == "interrupted":
            self._start(copy)

    def cancel(self, copy: Copy) -> None:
        """Call a copy off; what is whole stays."""
        if copy.id in self._tasks:
            self._unwanted.add(copy.id)
        elif copy.phase in OVER:
            return
        elif self._journal.hold(copy.id):
            copy.phase = "cancelled"
            self._journal.write(copy)
            self._journal.release(copy.id)
        else:
            self._journal.ask_to_cancel(copy.id)

    async def close(self) -> None:
        """Stop copying; what is under way can go on after a restart."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, copy: Copy) -> None:
        if not self._journal.hold(copy.id):
            return  # another server was quicker: looked at again, it is running
        copy.phase = "waiting"
        self._copies[copy.id] = copy
        self._journal.write(copy)
        task = asyncio.get_running_loop().create_task(self._run(copy))
        self._tasks[copy.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(copy.id, None))

    async def _run(self, copy: Copy) -> None:
        try:
            async with self._turns:
                copy.phase = "running"
                self._journal.write(copy)
                mode = "read" if copy.kind == "to-home" else "read-write"
                bucket = await self._open_bucket(
                    self._service, copy.bucket, copy.starts, mode
                )
                work = Work(
                    copy,
                    bucket,
                    self._root,
                    advanced=lambda: self._advanced(copy),
                    check=lambda: self._check(copy),
                )
                await work.run()
            self._end(copy)
        except CopyCancelled:
            copy.phase = "cancelled"
        except (ServiceFailed, FileRefused, ObjectRefused) as error:
            copy.phase, copy.message = "failed", str(error)
        except OSError as error:
            copy.phase = "failed"
            copy.message = f"The home directory cannot be used: {error.strerror}."
        except asyncio.CancelledError:
            copy.phase = "interrupted"
            raise
        except Exception:
            log.exception("Copy %s failed", copy.id)
            copy.phase = "failed"
            copy.message = "Something went wrong; the notebook server's log has it."
        finally:
            self._unwanted.discard(copy.id)
            self._journal.write(copy)
            self._journal.release(copy.id)

    def _end(self, copy: Copy) -> None:
        copy.phase = "done"
        if copy.failed and not copy.done:
            copy.phase = "failed"
            first = copy.failures[0]
            copy.message = f"{first['name']}: {first['message']}"
        elif not copy.done:
            copy.phase, copy.message = "failed", "There was nothing to copy."

    def _advanced(self, copy: Copy) -> None:
        self._journal.write(copy)
        self._check(copy)

    def _check(self, copy: Copy) -> None:
        self._active()
        if copy.id in self._unwanted or self._journal.is_unwanted(copy.id):
            raise CopyCancelled

    def _look_again(self) -> None:
        """Read what other servers did to copies that are not over."""
        known = {copy.id for copy in self._copies.values() if copy.phase in OVER}
        for copy in self._journal.read(known | self._tasks.keys()):
            self._copies[copy.id] = copy

    def _forget_old(self) -> None:
        over = [copy for copy in self.list() if copy.phase in OVER]
        for copy in over[_KEPT:]:
            del self._copies[copy.id]
            self._journal.forget(copy.id)
