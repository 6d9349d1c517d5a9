"""One rule for names and accounts, in front of whatever proves who signs in.

Whatever proves the identity, the name is then an account's name on the cluster: it is
matched before anything else sees it, and where jobs run under accounts of this machine
it must be one that belongs to a person (:mod:`spawners.common.accounts`), now and while
she is signed in. Groups become the hub's groups, by which profiles are limited.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyterhub import orm
from jupyterhub.auth import Authenticator, LocalAuthenticator
from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import Bool, Float, Integer

from hub.pages.pace import Buckets, TooOften
from spawners.batch.explain.failure import Failure
from spawners.common.accounts import brief, is_account_name
from spawners.notebooks.errors import StartFailed

from .account_looks import AccountLooks, Look
from .sign_in_form import LONGEST_FIELD, SignInHandler
from .throttle import Throttle

# JupyterHub's own default for asking a provider again; the account is looked at
# whenever a request comes.
_PROVED_SECONDS = 300.0
_MOST_PROVED = 20_000
_MOST_AT_ONCE = 32
_START_EVERY_SECONDS = 10.0
# While PAM is asked, the account is looked at once.
_LOOKED_SECONDS = 10.0
REFUSED = "You cannot sign in here with this account. Ask those who run this gateway."


class TooMany(web.HTTPError):
    """A try that comes too early, whoever is meant."""

    def __init__(self, seconds: int) -> None:
        super().__init__(429, f"Too many attempts to sign in. Wait {seconds} seconds.")
        self.headers = {"Retry-After": str(seconds)}


class AccountRule(Authenticator):  # type: ignore[misc]  # JupyterHub is untyped
    """Lets only names through that can be an account here, in one way for all.

    Whoever is refused learns nothing else: not whether the account is there, the
    system's or locked, nor whether the password was right. The log says it.
    """

    own_accounts = Bool(
        default_value=True,
        config=True,
        help="Whether names must be accounts of this machine.",
    )
    lowest_uid = Integer(
        1000, config=True, help="Accounts below this number cannot sign in."
    )
    unix_groups = Bool(
        default_value=True,
        config=True,
        help="Whether the account's groups are the user's, where groups are managed.",
    )
    refusal_seconds = Float(
        1.0,
        config=True,
        help="Refusals come after a multiple of this, whatever they rest on.",
    )
    starts_at_once = Integer(
        60,
        min=1,
        config=True,
        help="Starts of servers by one user, within a short time, after which the next "
        "has to wait: more than anybody needs, started and stopped by a program.",
    )
    takes_forms = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.throttle = Throttle()
        self.looks = AccountLooks(self.lowest_uid)
        self._proved: OrderedDict[str, float] = OrderedDict()
        self._starts = Buckets(self.starts_at_once, _START_EVERY_SECONDS)
        self._agreed: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._under_way = 0

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Return the authenticator's handlers, with a sign-in page that is bounded."""
        theirs = [h for h in super().get_handlers(app) if h[0] != "/login"]
        return [*theirs, ("/login", SignInHandler)]

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Return the user's model; ``None`` for every refused form.

        Raises:
            HTTPError: 429 for too many tries; 403 if a provider has proven an
                identity that may not sign in here.
        """
        if not data:  # a provider's callback
            model = await super().get_authenticated_user(handler, data)
            if model and (fault := await self._fault(model)):
                self.log.warning("Refused to sign in: %s", fault)
                raise web.HTTPError(403, REFUSED)
            return self._noted(model)
        form = _parsed(data) if self.takes_forms else None
        if form is None:
            self.log.warning("Refused to sign in: not a name and a password.")
            return None
        began = time.monotonic()
        source = str(handler.request.remote_ip) if handler else ""
        with self._turn(form["username"], source):
            model = await self._by_form(handler, form)
        if model:
            self.throttle.succeeded(form["username"], source)
            return self._noted(model)
        step = max(0.001, self.refusal_seconds)
        took = time.monotonic() - began
        await asyncio.sleep(step * math.ceil(took / step) - took)
        return None

    async def _by_form(self, handler: Any, form: dict[str, str]) -> Any:
        # The proof is not asked for an account that would be refused anyway.
        if fault := await self._fault({"name": form["username"]}):
            self.log.warning("Refused to sign in: %s", fault)
            return None
        model = await super().get_authenticated_user(handler, form)
        if not model:
            return None
        if fault := await self._fault(model, fresh=_LOOKED_SECONDS):
            self.log.warning("Refused to sign in: %s", fault)
            return None
        return model

    async def _fault(self, model: dict[str, Any], fresh: float = 0) -> str:
        """Return why the model's name may not sign in; sets its groups if it may."""
        name = model["name"]
        if not is_account_name(name):
            return f"{brief(name)} is no account's name."
        if not self.own_accounts:
            return ""
        look = await self.looks.look(name, fresh, keep=False)
        if look is None:
            return f"Of the account {name!r} nothing can be learned just now."
        if self.manage_groups and self.unix_groups:
            model["groups"] = list(look.groups)
        return look.fault

    @contextmanager
    def _turn(self, name: str, source: str) -> Iterator[None]:
        """Hold one of the few places for tries.

        Raises:
            HTTPError: 429, with the time after which the next try is looked at.
        """
        full = self._under_way >= _MOST_AT_ONCE
        wait = 5.0 if full else self.throttle.begin(name, source)
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooMany(seconds)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def _noted(self, model: Any) -> Any:
        if model:
            self._note_proof(model["name"])
        return model

    def _note_proof(self, name: str) -> None:
        self._proved[name] = time.monotonic()
        self._proved.move_to_end(name)
        if len(self._proved) > _MOST_PROVED:
            self._proved.popitem(last=False)

    # -- while signed in -------------------------------------------------------------

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        """Return whether ``user`` is still good, and the groups that have changed.

        ``False`` for an account that is gone, locked or otherwise not a person's any
        more: sessions and tokens are refused, and good again when it is.
        """
        if self.own_accounts:
            look = await self.looks.look(user.name)
            if look is not None and look.fault:
                return False
            if look is not None and self.groups_differ(user.orm_user, look):
                return {"name": user.name, "groups": list(look.groups)}
        last = self._proved.get(user.name)
        if last is not None and time.monotonic() - last < _PROVED_SECONDS:
            return True
        try:
            answer = await super().refresh_user(user, handler)
        except Exception:  # a provider that is away ends no session
            self.log.exception("Cannot ask again about %s", user.name)
            return True
        if answer:
            self._note_proof(user.name)
            return answer
        # Who comes by a token cannot be sent to sign in (as JupyterHub decides, too).
        by_token = bool(getattr(handler, "_token_authenticated", False))
        return by_token or getattr(handler, "_jupyterhub_user", None) is not user

    def groups_differ(self, user: orm.User, look: Look) -> bool:
        """Tell whether the account is in other groups than the hub's user.

        Asked with each request: the database only where something may have changed, as
        nobody else writes groups that are managed.
        """
        if not (self.manage_groups and self.unix_groups):
            return False
        if self._agreed.get(user.name) == look.groups:
            return False
        differ = {g.name for g in user.groups} != set(look.groups)
        if not differ:
            self._agreed[user.name] = look.groups
            if len(self._agreed) > _MOST_PROVED:
                self._agreed.popitem(last=False)
        return differ

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        """Hold up who starts and stops servers without end: each is a submission.

        Raises:
            StartFailed: 429, saying when the next start is taken.
        """
        try:
            self._starts.take(user.name)
        except TooOften as error:
            raise StartFailed(
                Failure(
                    "You have started very many servers in a short time",
                    hint=f"Try again in {math.ceil(error.seconds)} seconds.",
                ),
                reason="limit",
                status_code=429,
            ) from None
        await maybe_future(super().pre_spawn_start(user, spawner))

    async def add_user(self, user: Any) -> None:
        """Take a user in whose name, and account, may sign in.

        Raises:
            ValueError: saying why not.
        """
        if not is_account_name(user.name):
            raise ValueError(f"Invalid username: {brief(user.name)}")
        known = isinstance(user, orm.User)  # at the start: every user of the database
        if self.own_accounts and not known and not self._makes_accounts():
            look = await self.looks.look(user.name, keep=False)
            if look is None or look.fault:
                raise ValueError(look.fault if look else "Accounts cannot be read now.")
        if self._makes_accounts():
            await super().add_user(user)
        else:  # nor does it ask the directory about each user at the start
            Authenticator.add_user(self, user)

    def _makes_accounts(self) -> bool:
        return isinstance(self, LocalAuthenticator) and self.create_system_users


def _parsed(data: Any) -> dict[str, str] | None:
    """Return the form with a name that can be an account's; else ``None``."""
    name, password = data.get("username"), data.get("password", "")
    if not isinstance(name, str) or not isinstance(password, str):
        return None
    # Bounded and ASCII before case is folded: "K" (U+212A) is no "k".
    if len(name) > LONGEST_FIELD or not name.isascii():
        return None
    name = name.lower()
    if not is_account_name(name) or "\0" in password:
        return None
    return {**data, "username": name} if len(password) <= LONGEST_FIELD else None


def ruled(kind: type[Authenticator]) -> type[AccountRule]:
    """Return the site's authenticator with the rule in front of it."""
    if issubclass(kind, AccountRule):
        return kind
    return type(kind.__name__, (AccountRule, kind), {"__module__": kind.__module__})
