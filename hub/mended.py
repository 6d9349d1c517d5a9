"""What JupyterHub 6.1 answers with an error of its own, put right."""

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


class OneStart:
    """In front of a handler: of two starts at the same moment, one is refused.

    JupyterHub looks whether a server starts or runs, then waits for what the
    authenticator says of the account (``refresh_pre_spawn``), and looks again for a
    start only, which it answers by 500. Here nothing is waited for after the look.
    """

    # Of the handler behind.
    refresh_auth: Any

    async def spawn_single_user(
        self, user: Any, server_name: str = "", *arguments: Any, **named: Any
    ) -> Any:
        """Start a server, once the account was looked at.

        Raises:
            HTTPError: 403 for an account that may not be used any more, 400 for a
                server that starts, stops or runs already.
        """
        if await self.refresh_auth(user, force=True) is None:
            raise web.HTTPError(403, f"auth has expired for {user.name}, login again")
        spawner = user.spawners.get(server_name)
        if spawner is not None and (spawner.pending or spawner.ready):
            now = f"pending {spawner.pending}" if spawner.pending else "already running"
            raise web.HTTPError(400, f"{spawner._log_name} is {now}")
        return await super().spawn_single_user(  # type: ignore[misc]
            user, server_name, *arguments, **named
        )


def mended(rules: Iterable[Any]) -> list[Any]:
    """Return the hub's URL rules with our handlers in the place of faulty ones."""
    return [
        (rule[0], _in_place(rule[0]), *rule[2:]) if rule[1] is TokenAPIHandler else rule
        for rule in rules
    ]


def _in_place(pattern: str) -> type[TokenAPIHandler]:
    return RemovedTokenHandler if "(" in pattern else NamelessTokenHandler
