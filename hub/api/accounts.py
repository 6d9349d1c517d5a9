"""Whose accounts may not be used any more, for services that hold keys of theirs.

``GET /hub/api/landbridge/accounts/refused`` answers ``{"users": [NAME, …]}``: people of
the hub whose accounts were seen gone, locked or expired within the last seconds. Needs
the scope ``read:users:name``; names beyond it are left out.
"""

from __future__ import annotations

import json
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope


class RefusedAccountsHandler(APIHandler):  # type: ignore[misc]  # it is untyped
    """``GET accounts/refused``."""

    @needs_scope("read:users:name")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the names."""
        looks = getattr(self.authenticator, "looks", None)
        names = looks.refused() if looks is not None else []
        may_see = self.get_scope_filter("read:users:name")
        users = self.db.query(orm.User).filter(orm.User.name.in_(names))
        shown = sorted(user.name for user in users if may_see(user, "user"))
        self.finish(json.dumps({"users": shown}))


handlers: list[tuple[Any, ...]] = [
    (r"/api/landbridge/accounts/refused", RefusedAccountsHandler),
]
"""Routes below the hub's prefix, for ``JupyterHub.extra_handlers``."""
