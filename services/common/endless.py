"""Answers that go on for as long as somebody reads: a process that ends cuts them off.

A reader of such a stream comes again, to the next process, and goes on from where it
was. For every other answer that was begun the end of a process waits a little.
"""

from __future__ import annotations

from weakref import WeakSet

from tornado.httputil import HTTPServerRequest

ENDLESS: WeakSet[object] = WeakSet()
"""Connections that carry such an answer now."""


def is_endless(request: HTTPServerRequest) -> None:
    """Say that the answer to this request has no end of its own."""
    ENDLESS.add(request.server_connection)
