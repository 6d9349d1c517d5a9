"""Ask every route of a running gateway as everybody, and count who was let in.

::

    PYTHONPATH=tests python -m rigs.routes.sweep         # in the tests' environment

The routes come from the running hub, the storage service's table and a notebook
server; who may ask is in ``rules.py``. Each route is asked with every method, as
every identity (nobody, browsers with and without their XSRF token, another user's,
tokens cut to each scope, services with their roles, a job's), and under other host
names. A fault is: a route that is not declared, an answer to somebody who may not, no
answer to who may, a change by a cookie alone, a 5xx, a word about somebody else.
"""

from __future__ import annotations

import http.client
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from rigs.hub.process import ADMIN_TOKEN, PASSWORD, HubProcess, server_process
from rigs.routes.rules import (
    ANYBODY,
    ENDS_THINGS,
    EVERYBODY,
    HUB,
    MUST_ANSWER,
    PERSON,
    PROVEN,
    SERVER,
    STORAGE_PAGES,
    Needs,
    Rule,
    storage_scope,
)
from services.storage.__main__ import PAGES
from services.storage.spec import SPEC

# Methods that no route has, but two: one of HTTP's and one of nobody's.
_QUICK = ("POST", "BREW")
_SLOW_ONES = frozenset(
    {
        "bob's browser",
        "another site's page with alice's cookies (no-cors)",
        "another site's page with alice's cookies (navigate)",
        *(f"alice's {scope}!user" for scope in ("read:users:name", "start:servers")),
        *(f"alice's {scope}!user" for scope in ("delete:servers", "read:tokens")),
        "alice's access:services!service=storage",
        "alice's custom:storage:share",
    }
)
SAFE = ("GET", "HEAD", "OPTIONS")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW")
LISTING = "/hub/api/landbridge/routes"
STORAGE = "/services/storage/"
# Of the other user: no answer to alice may hold it.
OTHER = "bob-zx81"
CUTS = (
    "read:users:name!user",
    "read:users!user",
    "users:activity!user",
    "read:servers!user",
    "start:servers!user",
    "delete:servers!user",
    "servers!user",
    "access:servers!user",
    "read:tokens!user",
    "tokens!user",
    "access:services!service=storage",
    "custom:storage:read",
    "custom:storage:write",
    "custom:storage:share",
)
# 424: JupyterHub's word for a server that does not run.
_REFUSED = frozenset({401, 403, 404, 405, 413, 421, 424, 429, 501})
# Of these the body is read before anybody is asked who he is.
_BODY_FIRST = ("/hub/api/users/alice/tokens",)
_IN, _FAULT = "let in", "faults of ours"
_MOST_READ = 1 << 20
_CONFIG = f"""
import os
from jupyterhub.apihandlers.base import APIHandler
from hub.assemble import assemble
from hub.config.settings import load_settings


class Routes(APIHandler):
    def get(self):
        if not self.has_scope("admin:users"):
            return self.send_error(403)
        rules = self.application.wildcard_router.rules
        patterns = [rule.matcher.regex.pattern for rule in rules]
        self.finish({{"routes": patterns}})


c = get_config()
assemble(c, load_settings(os.environ))
c.JupyterHub.extra_handlers = [({LISTING.removeprefix("/hub")!r}, Routes)]
"""


@dataclass(frozen=True)
class Identity:
    """Somebody who asks.

    Attributes:
        name: for the report.
        headers: that say who it is.
        scopes: as the hub tells them; empty for nobody.
        user: the user's name, ``""`` for a service or nobody.
        forged: another site's page sends this with the user's cookies, and cannot
            read or know the XSRF token.
    """

    name: str
    headers: dict[str, str] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    user: str = ""
    forged: bool = False

    @property
    def by_token(self) -> bool:
        """Whether a program asks, not a browser."""
        return "Authorization" in self.headers

    def may(self, method: str, needs: Needs | None, whose: str) -> bool:
        """Tell whether this identity may do what needs ``needs``."""
        if needs is None:
            return False
        if needs == PROVEN or (self.forged and method not in SAFE):
            return False
        if needs == EVERYBODY:
            return True
        if needs == ANYBODY:
            return bool(self.scopes)
        if needs == PERSON:
            return bool(self.user) and not self.by_token
        return any(self._holds(scope, whose) for scope in needs)

    def _holds(self, scope: str, whose: str) -> bool:
        for granted in self.scopes:
            name, _, limit = granted.partition("!")
            if name == scope and (
                limit in ("", f"user={whose}", "service=storage")
                or limit.startswith(f"server={whose}/")
            ):
                return True
        return False


@dataclass
class Count:
    """What a sweep did, and what was wrong."""

    routes: int = 0
    identities: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report."""
        whole = sum(self.asked.values())
        return [
            f"{self.routes} routes, {self.identities} identities, {whole} requests",
            *(f"  {number:>6} {kind}" for kind, number in sorted(self.asked.items())),
            f"{len(self.faults)} faults",
            *(f"  {fault}" for fault in self.faults),
        ]


class Gateway:
    """A running gateway with people in it."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.site = f"http://127.0.0.1:{hub.port}"
        self.http = httpx.Client(base_url=self.site, trust_env=False, timeout=30)
        self._line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, headers and the beginning of the body of an answer.

        By hand: a client for people takes longer over a request than the gateway.
        """
        self._line.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            self._line.putheader(name, value)
        if body:
            self._line.putheader("Content-Length", str(len(body)))
        self._line.endheaders(body or None)
        answer = self._line.getresponse()
        streams = answer.headers.get_content_type() == "text/event-stream"
        text = b"" if streams else answer.read(_MOST_READ)
        if not answer.isclosed():  # the rest of it is not waited for
            answer.close()
            self._line.close()
        return answer.status, answer.headers, text

    def close(self) -> None:
        """End the connections."""
        self._line.close()
        self.http.close()

    def fill(self) -> list[Identity]:
        """Let people in and return everybody who can ask."""
        for name in ("alice", OTHER):
            self.hub.add_user(name)
        self.hub.call("POST", "groups/crew")
        self.hub.start_server("alice")
        self.hub.wait_state("alice", "ready")
        return [
            Identity("nobody"),
            self.by_token("a token that nobody gave", "0" * 32),
            *self.browsers(),
            self.by_token("alice's token", self.token("alice")),
            self.by_token("bob's token", self.token(OTHER)),
            *(
                self.by_token(f"alice's {cut}", self.token("alice", cut))
                for cut in CUTS
            ),
            self.revoked(),
            self.by_token("alice's server", self.server_token()),
            self.by_token("the administrator", ADMIN_TOKEN),
            self.by_token("operator", self.operator_token()),
            *(
                self.by_token(name, self.service_token(name))
                for name in ("idle-culler", "storage")
            ),
        ]

    def token(self, name: str, *scopes: str) -> str:
        """Return a new token of a user, cut to ``scopes`` if any are given."""
        wish = {"note": "sweep", **({"scopes": list(scopes)} if scopes else {})}
        return self.hub.call("POST", f"users/{name}/tokens", wish)["token"]

    def by_token(self, name: str, token: str) -> Identity:
        """Return who holds a token, with the scopes that the hub says it has."""
        headers = {"Authorization": f"token {token}"}
        answer = self.http.get("/hub/api/user", headers=headers)
        if answer.status_code != 200:
            return Identity(name, headers)
        model = answer.json()
        user = model["name"] if model["kind"] == "user" else ""
        return Identity(name, headers, frozenset(model["scopes"]), user)

    def revoked(self) -> Identity:
        """Return who still sends a token that was taken back."""
        made = self.hub.call("POST", "users/alice/tokens", {"note": "to be revoked"})
        self.hub.call("DELETE", f"users/alice/tokens/{made['id']}")
        return self.by_token("a revoked token", made["token"])

    def browsers(self) -> Iterator[Identity]:
        """Sign in as people do; yield each with and without the XSRF token."""
        for name in ("alice", OTHER):
            scopes = self.by_token(name, self.token(name)).scopes
            site = self.site
            with httpx.Client(base_url=site, trust_env=False, timeout=30) as browser:
                browser.get("/hub/login")
                form = {
                    "username": name,
                    "password": PASSWORD,
                    "_xsrf": browser.cookies["_xsrf"],
                }
                answer = browser.post("/hub/login", data=form, headers={"Origin": site})
                assert answer.status_code == 302, answer.text
                browser.get("/hub/home")
                jar = list(browser.cookies.jar)
            cookies = "; ".join(
                f"{one.name}={one.value}" for one in jar if one.path in ("/", "/hub/")
            )
            xsrf = next(o.value for o in jar if o.name == "_xsrf" and o.path == "/hub/")
            own = {"Cookie": cookies, "Sec-Fetch-Mode": "cors", "Origin": site}
            own["Sec-Fetch-Site"] = "same-origin"
            person = "alice" if name == "alice" else "bob"
            yield Identity(
                f"{person}'s browser", {**own, "X-XSRFToken": xsrf}, scopes, name
            )
            if name != "alice":
                continue
            yield Identity("alice's cookies alone", own, scopes, name, forged=True)
            evil = {"Cookie": cookies, "Origin": "https://evil.example"}
            for mode in ("cors", "no-cors", "navigate"):
                yield Identity(
                    f"another site's page with alice's cookies ({mode})",
                    {**evil, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode},
                    scopes,
                    name,
                    forged=True,
                )

    def operator_token(self) -> str:
        """Return what the command on the hub's machine uses."""
        return (self.hub.state / "secrets" / "operator-token").read_text().strip()

    def server_token(self) -> str:
        """Return the token in the environment of alice's notebook server."""
        return _variable(server_process(self.hub, "alice"), "JUPYTERHUB_API_TOKEN")

    def service_token(self, name: str) -> str:
        """Return the token by which the hub knows the service of this name."""
        file = self.hub.state / "secrets" / f"service-{name}.token"
        return file.read_text().strip()

    def routes(self) -> list[str]:
        """Return the patterns of the running hub's routes."""
        answer = self.hub.api.get(LISTING)
        found = [*answer.json()["routes"]]
        return [one for one in dict.fromkeys(found) if one != f"{LISTING}$"]

    def state(self) -> object:
        """Return what no sweep may change: people, groups, tokens, servers."""
        people = {
            user["name"]: (user["admin"], user["groups"], sorted(user["servers"]))
            for user in self.hub.call("GET", "users")
        }
        tokens = {}
        for name in people:
            held = self.hub.call("GET", f"users/{name}/tokens")["api_tokens"]
            tokens[name] = sorted(token["id"] for token in held)
        return people, tokens, self.hub.call("GET", "groups")


def _variable(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return next(
        line.partition("=")[2]
        for line in text.split("\0")
        if line.startswith(f"{name}=")
    )


@dataclass
class Sweep:
    """One sweep over a gateway."""

    gateway: Gateway
    identities: list[Identity]
    quick: bool = False
    count: Count = field(default_factory=Count)

    def ask(
        self,
        who: Identity,
        method: str,
        path: str,
        needs: Needs | None,
        *,
        whose: str = "alice",
        must: bool = False,
    ) -> None:
        """Ask once and judge the answer."""
        headers, body = dict(who.headers), b""
        if method not in SAFE and method != "TRACE":
            headers["Content-Type"] = "application/json"
            body = b"{"  # let in, it is refused as no JSON and changes nothing
        status, told, text = self.gateway.ask(method, path, headers, body)
        may = who.may(method, needs, whose)
        kind = _kind(status, told)
        if status == 400 and (needs == PROVEN or path in _BODY_FIRST):
            kind = "refused"
        self.count.asked[kind] += 1
        what = f"{who.name}: {method} {path} -> {status}"
        if kind == _FAULT:
            self.count.faults.append(f"{what}: a fault of ours")
        elif kind == _IN and not may:
            self.count.faults.append(f"{what}: may not, and was let in")
        elif must and may and kind != _IN:
            self.count.faults.append(f"{what}: may, and was refused: {text[:200]!r}")
        if who.user == "alice" and OTHER.encode() in text:
            self.count.faults.append(f"{what}: tells of {OTHER}")
        if "evil" in told.get("Access-Control-Allow-Origin", ""):
            self.count.faults.append(f"{what}: lets another site read it")

    def hub(self) -> None:
        """Ask all of the hub's routes."""
        found = self.gateway.routes()
        for pattern in sorted(set(found) - set(HUB)):
            self.count.faults.append(f"{pattern} is not declared in rules.py")
        for pattern in sorted(set(HUB) - set(found)):
            self.count.faults.append(
                f"{pattern} is declared, and there is no such route"
            )
        self.count.routes += len(found)
        for pattern in found:
            if pattern in HUB:
                self._one(pattern, HUB[pattern])

    def _one(self, pattern: str, rule: Rule) -> None:
        path = rule.path.format(user="alice")
        for method in self.methods(rule.needs):
            needs = rule.needs.get(method)
            for who in self.identities:
                whose = "alice" if rule.of_one else who.user
                if (method, pattern) in ENDS_THINGS and who.may(method, needs, whose):
                    self.count.asked["not sent: it would end what is swept"] += 1
                    continue
                must = who.by_token and (method, pattern) in MUST_ANSWER
                self.ask(who, method, path, needs, whose=whose, must=must)

    def methods(self, declared: Collection[str]) -> tuple[str, ...]:
        """Return the methods to ask a route with."""
        return tuple(m for m in METHODS if not self.quick or m in (*declared, *_QUICK))

    def storage(self) -> None:
        """Ask all of the storage service's routes."""
        known = {pattern for pattern, _, _ in PAGES} | {
            "health",
            "metrics",
            "oauth_callback",
            "api/v1/openapi.json",
        }
        for pattern in sorted(known ^ set(STORAGE_PAGES)):
            self.count.faults.append(f"storage's {pattern!r} is not declared, or gone")
        self.count.routes += len(STORAGE_PAGES) + len({r.path for r in SPEC.routes})
        for rule in STORAGE_PAGES.values():
            for method in self.methods(rule.needs):
                for who in self.identities:
                    self.ask(who, method, STORAGE + rule.path, rule.needs.get(method))
        self._storage_calls()

    def _storage_calls(self) -> None:
        by_path: dict[str, dict[str, str]] = {}
        for route in SPEC.routes:
            by_path.setdefault(route.path, {})[route.method] = route.scope
            declared = storage_scope(route.method, route.path)
            if route.scope != declared:
                self.count.faults.append(
                    f"{route.method} {route.path} asks for {route.scope}"
                )
        for path, methods in by_path.items():
            filled = re.sub(r"\{[a-z]+\}", "alice--none", path)
            for method in self.methods(methods):
                for who in self.identities:
                    needs = self._storage_needs(who, methods.get(method))
                    must = who.by_token and (method, path) == ("GET", "me")
                    self.ask(who, method, f"{STORAGE}api/v1/{filled}", needs, must=must)

    def _storage_needs(self, who: Identity, scope: str | None) -> Needs | None:
        """Return what is needed: the scope, and besides it access to the service."""
        enter = who.may("GET", frozenset({"access:services"}), "alice") and who.user
        return frozenset({scope}) if scope and enter else None

    def server(self) -> None:
        """Ask some addresses of alice's notebook server."""
        self.count.routes += len(SERVER)
        for path, needs in SERVER.items():
            for method in self.methods(needs):
                for who in self.identities:
                    self.ask(who, method, f"/user/alice/{path}", needs.get(method))

    def hosts(self) -> None:
        """Ask under names that are not the gateway's."""
        port = self.gateway.hub.port
        names = ["evil.example", f"evil.example:{port}", "", "a" * 300]
        names += [f"127.0.0.1.evil.example:{port}", f"localhost.evil.example:{port}"]
        rules = [rule.path.format(user="alice") for rule in HUB.values()]
        rules += [STORAGE, f"{STORAGE}api/v1/me", "/user/alice/api", "/s3/"]
        alice = next(one for one in self.identities if one.name == "alice's browser")
        for name in names:
            for path in rules:
                headers = {**alice.headers, "Host": name}
                status, _, _ = self.gateway.ask("GET", path, headers)
                self.count.asked["under another host name"] += 1
                if status < 400 or status >= 500:
                    self.count.faults.append(f"Host {name[:40]!r}: {path} -> {status}")


def _kind(status: int, headers: http.client.HTTPMessage) -> str:
    if status in _REFUSED:
        return "refused"
    if status >= 500:
        return _FAULT
    where = headers.get("Location", "") if 300 <= status < 400 else ""
    # The last asks whether somebody else's server is to be visited.
    if any(page in where for page in ("/hub/login", "/oauth2/authorize", "/hub/visit")):
        return "sent to sign in"
    return _IN


@contextmanager
def gateway() -> Iterator[Gateway]:
    """Run a gateway that tells its routes to its administrator."""
    directory = Path(tempfile.mkdtemp(prefix="lbsweep-", dir="/var/tmp"))
    directory.chmod(0o755)
    (directory / "config").mkdir()
    (directory / "config" / "jupyterhub_config.py").write_text(_CONFIG)
    (directory / "gateway.toml").write_text("[culling]\ncheck_every = '1h'\n")
    hub = HubProcess(
        directory / "state",
        checkout=directory,
        LANDBRIDGE_CONFIG=str(directory / "gateway.toml"),
    )
    try:
        hub.start()
        with closing(Gateway(hub)) as running:
            yield running
    finally:
        hub.close()
        shutil.rmtree(directory)


def sweep(running: Gateway, *, quick: bool = False) -> Count:
    """Ask everything as everybody; return what was seen.

    ``quick``: fewer methods that a route does not have, and only one token of those
    that can do least.
    """
    identities = running.fill()
    if quick:
        identities = [one for one in identities if one.name not in _SLOW_ONES]
    whole = Sweep(running, identities, quick)
    whole.count.identities = len(identities)
    before = running.state()
    whole.hub()
    whole.storage()
    whole.server()
    whole.hosts()
    after = running.state()
    if after != before:
        whole.count.faults.append(f"something was changed: {before} became {after}")
    return whole.count


def main() -> int:
    """Sweep, print the counts, and fail if there was a fault."""
    with gateway() as running:
        count = sweep(running)
    print("\n".join(count.lines()))
    return 1 if count.faults else 0


if __name__ == "__main__":
    sys.exit(main())
