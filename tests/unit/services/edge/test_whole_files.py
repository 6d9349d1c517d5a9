"""A reload that is cancelled while it writes: the cancel arrives, and arrives last."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.edge.supervisor import _whole


async def test_a_cancel_waits_for_what_is_being_written():
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work(name: str) -> None:
        begun.set()
        may_end.wait(10)
        ended.append(name)

    task = asyncio.create_task(_whole(work, "file"))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["file"]
