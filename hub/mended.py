"""What JupyterHub 6.1 answers with an error of its own, put right in its URL rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyterhub.apihandlers.auth import TokenAPIHandler
from tornado import web


class RemovedTokenHandler(TokenAPIHandler):  # type: ignore[misc]  # it is untyped
    """``authorizations/token/NAME``: read as before; to make one was removed in 2.0.

    JupyterHub says so at the address without NAME only, and fails at this one.
    """

    async def post(self, token: str | None = None) -> None:
        """Answer 404 in JupyterHub's own words, whatever the address."""
        await super().post()


class NamelessTokenHandler(RemovedTokenHandler):
    """``authorizations/token``: there is nothing to read; JupyterHub answers 500."""

    async def get(self) -> None:
        """Answer 404."""
        raise web.HTTPError(404)


def mended(rules: Iterable[Any]) -> list[Any]:
    """Return the hub's URL rules with our handlers in the place of faulty ones."""
    return [
        (rule[0], _in_place(rule[0]), *rule[2:]) if rule[1] is TokenAPIHandler else rule
        for rule in rules
    ]


def _in_place(pattern: str) -> type[TokenAPIHandler]:
    return RemovedTokenHandler if "(" in pattern else NamelessTokenHandler
