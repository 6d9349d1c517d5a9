"""A hub for tests of services: the few answers that a service asks JupyterHub for.

It answers at a Unix socket from a thread, so that a service in the test's own process,
on the test's own loop, and one in a process of its own can both ask it::

    hub = HubStub(tmp_path / "hub.sock", scopes=["access:services!service=toy"])
    hub.add_user("ann", "lab")
    token = hub.token("ann")
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any  # JSON
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from spawners.common.sockets import url_of_socket

_API = "/hub/api/"
_POLL_SECONDS = 0.05
_PAGE, _LONGEST_PAGE = 50, 200
_PAGED = "application/jupyterhub-pagination+json"
_HTML = b"<!doctype html><title>503</title>"

Answer = tuple[int, Any]
"""Status, and what JSON says."""


@dataclass(slots=True)
class HubUser:
    """Somebody whom the hub knows.

    Attributes:
        name: of the user.
        groups: that she is in.
        auth_state: what the hub kept of her sign-in; ``None`` for nothing.
        is_admin: an administrator.
    """

    name: str
    groups: set[str] = field(default_factory=set)
    auth_state: dict[str, Any] | None = None
    is_admin: bool = False


@dataclass(slots=True)
class HubToken:
    """A token of a user's.

    Attributes:
        name: whose.
        scopes: what it may.
        session: of the browser that it was made in; ``""`` for a program's.
    """

    name: str
    scopes: tuple[str, ...]
    session: str = ""


@dataclass(frozen=True, slots=True)
class _Code:
    token: str
    redirect_uri: str
    challenge: str


class HubStub:
    """Knows users, groups and whose a token is, and signs browsers in by OAuth.

    Attributes:
        users: by name.
        tokens: all that are good.
        groups: names of groups, also of those that nobody is in.
        refused: whose accounts the hub sees gone, locked or expired.
        scopes: of a token that is made without any.
        service_token: by which services ask about others; also their OAuth secret.
        is_confused: whether it answers nothing but 503.
        is_odd: whether it answers 200 with a page for people, as a wrong proxy would.
        answering: whether it answers at all; cleared, it lets everybody wait.
        asked: method and path of every request, in order.
        url: of its API, at its socket.
    """

    def __init__(
        self,
        path: Path,
        *,
        scopes: Iterable[str] = (),
        service_token: str = "token-of-the-service",  # noqa: S107 -- a stub's
    ) -> None:
        self.users: dict[str, HubUser] = {}
        self.groups: set[str] = set()
        self.refused: set[str] = set()
        self.scopes = tuple(scopes)
        self.service_token = service_token
        self.is_confused = False
        self.is_odd = False
        self.answering = threading.Event()
        self.answering.set()
        self.asked: list[tuple[str, str]] = []
        self.url = f"{url_of_socket(path)}{_API}".rstrip("/")
        self._path = path
        self.tokens: dict[str, HubToken] = {}
        self._codes: dict[str, _Code] = {}
        self._server: _Server | None = None
        self.start()

    # What tests do with it

    def start(self) -> None:
        """Listen, anew after :meth:`stop`."""
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), lambda *rest: _Requests(self, *rest))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,)
        )
        self._thread.start()

    def stop(self) -> None:
        """Be there no more, and leave the socket's file, as a killed hub does."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def close(self) -> None:
        """Let go of everybody who waits, and end."""
        self.answering.set()
        self.stop()

    def add_user(self, name: str, *groups: str) -> HubUser:
        """Have a user in these groups as well; return her."""
        user = self.users.setdefault(name, HubUser(name))
        user.groups.update(groups)
        self.groups.update(groups)
        return user

    def remove_user(self, name: str) -> None:
        """Have a user no more, nor any token of hers."""
        self.users.pop(name, None)
        for token, kept in list(self.tokens.items()):
            if kept.name == name:
                self.revoke(token)

    def token(
        self, name: str, scopes: Iterable[str] | None = None, *, session: str = ""
    ) -> str:
        """Return a new token of a user, who is there from now on.

        Args:
            name: whose.
            scopes: what it may; the stub's own by default.
            session: of the browser that it was made in; ``""`` for a program's.
        """
        self.add_user(name)
        token = f"token-{secrets.token_hex(8)}-of-{name}"
        may = self.scopes if scopes is None else tuple(scopes)
        self.tokens[token] = HubToken(name, may, session)
        return token

    def revoke(self, token: str) -> None:
        """Have a token no more."""
        self.tokens.pop(token, None)

    def sign_in(
        self,
        authorize: str,
        name: str,
        scopes: Iterable[str] | None = None,
        *,
        session: str = "",
    ) -> str:
        """Do what the hub's sign-in page does; return where it sends the browser.

        Args:
            authorize: where the service sent the browser to, with its query.
            name: who signs in and confirms.
            scopes: of the token that the service gets.
            session: the browser's at the hub.

        Raises:
            ValueError: no service of the hub sends a browser so.
        """
        query = dict(parse_qsl(urlsplit(authorize).query))
        path = urlsplit(authorize).path
        if path != f"{_API}oauth2/authorize" or query.get("response_type") != "code":
            raise ValueError(f"{authorize} is no way to sign in")
        code = secrets.token_hex(8)
        token = self.token(name, scopes, session=session)
        self._codes[code] = _Code(
            token, query["redirect_uri"], query.get("code_challenge", "")
        )
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    # What it answers

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Return what JupyterHub would answer; by :class:`HubStub`'s thread."""
        self.answering.wait()
        parts = urlsplit(path)
        self.asked.append((method, parts.path))
        if self.is_confused:
            return 503, {"message": "Service Unavailable"}
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        where = parts.path.removeprefix(_API)
        if (method, where) == ("POST", "oauth2/token"):
            return self._exchange(dict(parse_qsl(body.decode())))
        token = headers.get("Authorization", "").rpartition(" ")[2]
        if where == "user":
            return self._whose(token)
        if token != self.service_token:
            return 403, {"message": "Forbidden"}
        if (method, where) == ("POST", "landbridge/accounts/known"):
            return 200, self._known_among(json.loads(body))
        is_paged = headers.get("Accept", "") == _PAGED
        return self._about(where, query, is_paged=is_paged)

    def _whose(self, token: str) -> Answer:
        kept = self.tokens.get(token)
        if kept is None or kept.name not in self.users:
            return 403, {"message": "Missing or invalid credentials."}
        model = {
            **_public(self.users[kept.name]),
            "scopes": list(kept.scopes),
            "session_id": kept.session or None,
        }
        return 200, model

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        """Give the token for a code, once, to who began that sign-in."""
        code = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            code is None
            or form.get("client_secret") != self.service_token
            or form.get("redirect_uri") != code.redirect_uri
            or (code.challenge and code.challenge != challenge)
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": code.token, "token_type": "Bearer"}

    def _about(self, where: str, query: Mapping[str, str], *, is_paged: bool) -> Answer:
        noun, _, name = where.partition("/")
        name = unquote(name)
        if where == "landbridge/accounts/refused":
            return 200, {"users": sorted(self.refused)}
        if noun == "users" and name in self.users:
            user = self.users[name]
            return 200, {**_public(user), "auth_state": user.auth_state}
        if noun == "groups" and name in self.groups:
            return 200, self._group(name)
        if where == "users":
            users = [_public(self.users[name]) for name in sorted(self.users)]
            return 200, _listing(users, query, is_paged=is_paged)
        if where == "groups":
            groups = [self._group(name) for name in sorted(self.groups)]
            return 200, _listing(groups, query, is_paged=is_paged)
        return 404, {"message": "Not Found"}

    def _known_among(self, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        groups = {name: self._group(name)["users"] for name in asked.get("groups", ())}
        known = [name for name in asked.get("users", ()) if name in self.users]
        return {"users": sorted(known), "groups": groups}

    def _group(self, name: str) -> dict[str, Any]:
        members = [user.name for user in self.users.values() if name in user.groups]
        return {"kind": "group", "name": name, "users": sorted(members)}


def _public(user: HubUser) -> dict[str, Any]:
    return {
        "kind": "user",
        "name": user.name,
        "groups": sorted(user.groups),
        "admin": user.is_admin,
    }


def _listing(
    models: list[dict[str, Any]], query: Mapping[str, str], *, is_paged: bool
) -> Any:
    """Return a page of a list in the form that was asked for, as JupyterHub does."""
    offset = int(query.get("offset", "0"))
    limit = min(int(query.get("limit", str(_PAGE))), _LONGEST_PAGE)
    page = models[offset : offset + limit]
    if not is_paged:
        return page
    then = offset + limit
    more = {"offset": then, "limit": limit} if then < len(models) else None
    about = {"offset": offset, "limit": limit, "total": len(models), "next": more}
    return {"items": page, "_pagination": about}


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Bear that who asked has given up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Requests(BaseHTTPRequestHandler):
    def __init__(self, hub: HubStub, *rest: Any) -> None:
        self._hub = hub
        super().__init__(*rest)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.title(): value for name, value in self.headers.items()}
        status, value = self._hub.answer(self.command, self.path, headers, body)
        content, kind = json.dumps(value).encode(), "application/json"
        if self._hub.is_odd:
            status, content, kind = 200, _HTML, "text/html"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""
