"""JupyterHub's handlers, with live sessions: every page and call of the hub.

JupyterHub 6.1 believes a browser by one method of its ``BaseHandler``,
``_user_for_cookie``, and has three more that begin and end a sign-in. A class of ours
is put in front of each handler that the hub serves (:func:`with_sessions`), also of
those that an authenticator or a later JupyterHub brings: nothing of JupyterHub is
patched, and no handler can be forgotten. ``Authenticator.refresh_user`` would not do:
it is asked once per user, not for each of her browsers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import SESSION_COOKIE_NAME, BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado import web

from hub.mended import OneStart
from services.common.web.fetches import refusal
from spawners.common.errors import DatabaseUnavailable

from .planted_cookies import forget_planted, values_of
from .sessions import Session, Sessions, key_of, new_session_id

SETTING = "landbridge_sessions"


class SignedIn(OneStart):
    """In front of a handler: a sign-in cookie counts together with its session."""

    # Of the handler behind.
    settings: Any
    request: Any
    hub: Any
    _session_id: str

    async def prepare(self) -> None:
        """Refuse what no page of the hub would send, and find out who asks.

        Of a page that comes first: also what JupyterHub says of an error is a page,
        with the token in it that every change needs.
        """
        if not isinstance(self, APIHandler):
            if reason := self._refusal():
                self.set_status(403)  # type: ignore[attr-defined]
                self.set_header("Content-Type", "text/plain")  # type: ignore[attr-defined]
                self.finish(f"{reason}\n")  # type: ignore[attr-defined]
                return
            self._forget_planted()
            await super().prepare()  # type: ignore[misc]
            return
        await super().prepare()  # type: ignore[misc]
        if reason := self._refusal():
            raise web.HTTPError(403, reason)

    def _refusal(self) -> str:
        return refusal(
            self.request.method,
            self.request.headers,
            page=not isinstance(self, APIHandler),
            by_token=bool(getattr(self, "_token_authenticated", False)),
        )

    @property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        sessions: Sessions = self.settings[SETTING]
        return sessions

    def live_session(self, user_name: str | None = None) -> Session | None:
        """Return the session that this request's cookie names, while it lives."""
        return self.sessions.find(self.get_session_cookie(), user_name)

    def get_session_cookie(self) -> str | None:
        """Return the session's id; of several that a browser sends, the good one."""
        sent = values_of(self, SESSION_COOKIE_NAME)
        if hasattr(self, "_session_id") or len(sent) < 2:
            value: str | None = super().get_session_cookie()  # type: ignore[misc]
            return value
        good = {cookie for cookie in sent if self.sessions.find(cookie)}
        if len(good) > 1 and (name := self._bound_user()):
            good = {cookie for cookie in good if self.sessions.find(cookie, name)}
        return good.pop() if len(good) == 1 else None

    def _bound_user(self) -> str:
        """Return whom the sign-in cookie names, if no other host can have planted it.

        Where each user has a host of her own, her page can plant her own good session
        on all of them, but nothing whose name begins so.
        """
        name = self.hub.cookie_name
        if not name.startswith("__Host-"):
            return ""
        user = super()._user_for_cookie(name)  # type: ignore[misc]
        return str(user.name) if user else ""

    def _user_for_cookie(self, cookie_name: str, cookie_value: Any = None) -> Any:
        """Return who a cookie belongs to, if this browser's session is theirs.

        A bare value that somebody else shows (JupyterHub's old call for services)
        proves nothing: it comes without a session.
        """
        if cookie_value is not None:
            return None
        session, sent = self.live_session(), values_of(self, cookie_name)
        for value in sent if session else ():
            days = self.settings["cookie_max_age_days"]
            if not self.get_secure_cookie(cookie_name, value, max_age_days=days):  # type: ignore[attr-defined]
                continue
            user = super()._user_for_cookie(cookie_name, value)  # type: ignore[misc]
            if session and user and session.user == user.name:
                self.sessions.touch(session)
                return user
        if sent:
            # A session that has ended, or a copy of somebody's cookie.
            self.clear_cookie(cookie_name, path=self.hub.base_url)  # type: ignore[attr-defined]
        return None

    def _forget_planted(self) -> None:
        """Have a browser that sends too many of the hub's cookies forget the others."""
        for name, own in (
            (SESSION_COOKIE_NAME, self.settings["base_url"]),
            (self.hub.cookie_name, self.hub.base_url),
        ):
            if len(values_of(self, name)) > 1:
                forget_planted(self, name, self.request.path, own)

    async def login_user(self, data: Any = None) -> Any:
        """Sign somebody in, and have the edge know of it before her next request."""
        user = await super().login_user(data)  # type: ignore[misc]
        if user:
            await self.settings["landbridge_admit"]()
        return user

    def set_login_cookie(self, user: Any) -> None:
        """Sign a browser in: always with a new session, never one that it brought."""
        asking = getattr(self, "_jupyterhub_user", None)
        before = self.live_session(asking.name) if asking else None
        if before is None or before.user != user.name:
            if before is not None:
                self.sessions.end(before)
            self._session_id = new_session_id()
            self.set_session_cookie()  # type: ignore[attr-defined]
            self.sessions.begin(self._session_id, user.name)
            self.set_hub_cookie(user)  # type: ignore[attr-defined]
        super().set_login_cookie(user)  # type: ignore[misc]

    def clear_login_cookie(self, name: str | None = None) -> None:
        """Sign a browser out, and end its session for every copy of its cookies."""
        user = self.get_current_user_cookie()  # type: ignore[attr-defined]
        session = self.live_session(user.name) if user else None
        super().clear_login_cookie(name)  # type: ignore[misc]
        if session is not None:
            self.sessions.end(session)

    def _set_cookie(self, key: str, *values: Any, **overrides: Any) -> None:
        """Set a cookie; the session's is kept for as long as the session may live.

        JupyterHub's own ends with the browser, and is simply made anew: here that
        would sign somebody out who closes a window.
        """
        if key == SESSION_COOKIE_NAME:
            overrides.setdefault("expires_days", self.settings["cookie_max_age_days"])
        super()._set_cookie(key, *values, **overrides)  # type: ignore[misc]


class SignsOut(SignedIn):
    """In front of the handlers that sign somebody out."""

    async def default_handle_logout(self) -> None:
        """Sign out, and say so when it is written down."""
        await super().default_handle_logout()  # type: ignore[misc]
        try:
            await self.sessions.flush()
        except DatabaseUnavailable:
            raise web.HTTPError(
                503,
                "You are signed out, but the gateway could not write it down yet. "
                "Tell its operators if this lasts.",
            ) from None


def with_sessions(rules: Iterable[Any]) -> list[Any]:
    """Return the hub's URL rules with live sessions in front of each handler."""
    made: dict[type, type] = {}

    def in_front(kind: type) -> type:
        if kind not in made:
            ours = SignsOut if issubclass(kind, LogoutHandler) else SignedIn
            about = {"__module__": kind.__module__, "__doc__": kind.__doc__}
            made[kind] = type(kind.__name__, (ours, kind), about)
        return made[kind]

    return [
        (rule[0], in_front(rule[1]), *rule[2:])
        if isinstance(rule[1], type) and issubclass(rule[1], BaseHandler)
        else rule
        for rule in rules
    ]


def known_sessions(db: Any) -> list[tuple[str, str]]:
    """Return id and user of the sessions in which JupyterHub has made tokens.

    They tell who was signed in before we kept sessions ourselves. A token that was
    made in a session ends with it, so none is of a session that has ended.
    """
    query = db.query(orm.APIToken).filter(orm.APIToken.session_id.is_not(None))
    return [
        (token.session_id, token.user.name)
        for token in query
        if token.user is not None and token.session_id
    ]


def end_tokens(db: Any, session: Session) -> None:
    """End the tokens that were made in a session, as JupyterHub does at sign-out."""
    query = (
        db.query(orm.APIToken)
        .join(orm.User, orm.APIToken.user_id == orm.User.id)
        .filter(orm.User.name == session.user, orm.APIToken.session_id.is_not(None))
    )
    ended = [token for token in query if key_of(token.session_id) == session.key]
    for token in ended:
        db.delete(token)
    if ended:
        db.commit()


def follow_accounts(end_all: Any) -> None:
    """Call ``end_all`` with the name of each user that is deleted or renamed.

    It is called in the middle of a change of the database and must not ask it.
    """

    def deleted(_mapper: Any, _connection: Any, target: orm.User) -> None:
        end_all(target.name)

    def renamed(_target: orm.User, value: str, old: Any, _initiator: Any) -> None:
        if isinstance(old, str) and old != value:
            end_all(old)

    sa.event.listen(orm.User, "after_delete", deleted)
    sa.event.listen(orm.User.name, "set", renamed, active_history=True)
