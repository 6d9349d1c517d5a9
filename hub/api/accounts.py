"""Whose accounts there are, for services that hold keys of theirs.

``GET /hub/api/landbridge/accounts/refused`` answers ``{"users": [NAME, …]}``: people of
the hub whose accounts were seen gone, locked or expired within the last seconds. Needs
the scope ``read:users:name``; names beyond it are left out.

``POST /hub/api/landbridge/accounts/known`` with ``{"users": [NAME, …], "groups":
[NAME, …]}`` answers ``{"users": [NAME, …], "groups": {NAME: [NAME, …], …}}``: which of
these people there are, and who is in each of these groups. One question for everybody
whom a service holds keys of, however many they are. Needs the scope
``read:users:name``, and tells of groups those who have ``read:groups``; a name beyond
them counts as not there.
"""

from __future__ import annotations

import json
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from tornado import web

_MOST_NAMES = 5_000
_LONGEST_NAME = 255


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


class KnownAccountsHandler(APIHandler):  # type: ignore[misc]  # it is untyped
    """``POST accounts/known``."""

    @needs_scope("read:users:name")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Answer which of these people there are, and who is in these groups."""
        asked = self.get_json_body() or {}
        if not isinstance(asked, dict):
            raise web.HTTPError(400, "The body must be an object.")
        names = self._names(asked, "users")
        groups = self._names(asked, "groups")
        may_see = self.get_scope_filter("read:users:name")
        users = self.db.query(orm.User).filter(orm.User.name.in_(names))
        answer: dict[str, object] = {
            "users": sorted(user.name for user in users if may_see(user, "user"))
        }
        if "read:groups" in self.parsed_scopes:  # else none would seem to have members
            answer["groups"] = self._members(groups)
        self.finish(json.dumps(answer))

    def _members(self, groups: list[str]) -> dict[str, list[str]]:
        may_see_group = self.get_scope_filter("read:groups")
        members: dict[str, list[str]] = {name: [] for name in groups}
        found = self.db.query(orm.Group).filter(orm.Group.name.in_(groups))
        visible = [group.name for group in found if may_see_group(group, "group")]
        pairs = (
            self.db.query(orm.Group.name, orm.User.name)
            .join(orm.Group.users)
            .filter(orm.Group.name.in_(visible))
        )
        for group, user in pairs:
            members[group].append(user)
        return {group: sorted(users) for group, users in members.items()}

    @staticmethod
    def _names(asked: dict[str, Any], field: str) -> list[str]:
        names = asked.get(field, [])
        if (
            not isinstance(names, list)
            or len(names) > _MOST_NAMES
            or not all(isinstance(n, str) and len(n) <= _LONGEST_NAME for n in names)
        ):
            raise web.HTTPError(400, f"{field}: must be up to {_MOST_NAMES} names.")
        return names


handlers: list[tuple[Any, ...]] = [
    (r"/api/landbridge/accounts/refused", RefusedAccountsHandler),
    (r"/api/landbridge/accounts/known", KnownAccountsHandler),
]
"""Routes below the hub's prefix, for ``JupyterHub.extra_handlers``."""
