"""Ends what was opened with a token or session once the hub no longer knows that.

Runs in the user's notebook server (Python 3.8+, JupyterHub 4 to 6), as a file that the
agent wrote beside ``notebook_server.py``. JupyterHub asks the hub when a request comes,
keeps the answer for five minutes, and never asks again for a websocket or an answer
that still goes out. Here the answer is kept for :data:`CACHE_SECONDS` at most, whatever
the user's own configuration says, and asked for again while anything is open.

A right is ended by the hub's word only. A hub that is away, slow or confused ends
nothing of what is open. While none runs at all, as the gateway's edge says, what it
said last of somebody counts on for :data:`AWAY_SECONDS`, so that open notebooks are
saved and kernels started and ended while it is restarted: nobody can revoke anything
then.
"""

import asyncio
import inspect
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import weakref
from collections import OrderedDict
from typing import Any, Dict, List, Optional, Tuple

CACHE_SECONDS = 15
AWAY_SECONDS = 900
MOST_REMEMBERED = 1000
# What the edge alone says, and only where nobody is at the hub's socket.
AWAY_HEADER, AWAY = "X-Landbridge-Hub", "away"
LOOK_SECONDS = 5.0  # all is over within 30 s, of which the hub itself may need five
ASK_SECONDS = 20.0
# JupyterLab connects again after any other code but 1000, and would be refused.
GOING_AWAY = 1001
WHY = "You were signed out. Reload the page to sign in again."

log = logging.getLogger("tornado.application")  # shown among Jupyter's own

# A token, and the session that the browser named with it.
Credential = Tuple[str, str]


class Open:
    """What was asked for by somebody whom the hub knew: one request, or websocket."""

    def __init__(self, auth: Any, handler: Any) -> None:
        self.auth = auth
        self.handler = weakref.ref(handler)
        self._credential: Optional[Credential] = None

    def is_open(self) -> bool:
        """Tell whether something may still come in, or go out."""
        handler = self.handler()
        if handler is None:
            return False
        channel = getattr(handler, "ws_connection", None)
        if channel is not None:
            return not channel.is_closing()
        if handler._finished:
            return False
        stream = stream_of(handler)
        return stream is not None and not stream.closed()

    def credential(self) -> Optional[Credential]:
        """Return what it was opened with; ``None`` while nobody was recognized."""
        handler = self.handler()
        if self._credential is None and handler is not None:
            if not getattr(handler, "_cached_hub_user", None):
                return None
            by_token = getattr(handler, "_token_authenticated", False)
            token = (
                self.auth.get_token(handler, in_cookie=False)
                if by_token
                else self.auth._get_token_cookie(handler)
            )
            if token:
                self._credential = (token, self.auth.get_session_id(handler))
        return self._credential

    def close(self) -> None:
        """End it at once; nothing that was sent meanwhile is heard."""
        handler = self.handler()
        if handler is None:
            return
        if getattr(handler, "ws_connection", None) is not None:
            # A client that does not answer may otherwise go on for some seconds.
            handler.on_message = lambda message: None
            handler.close(GOING_AWAY, WHY)
            return
        stream = stream_of(handler)
        if stream is not None:
            stream.close()


def stream_of(handler: Any) -> Any:
    """Return the connection's stream, ``None`` for what comes over no socket."""
    connection = getattr(handler.request, "connection", None)
    return getattr(connection, "stream", None)


class Rights:
    """All that is open in this server, and the task that looks after it."""

    def __init__(self) -> None:
        self.open: List[Open] = []
        self._task: Optional["asyncio.Task[None]"] = None
        self._told = False

    def note(self, auth: Any, handler: Any) -> None:
        """Remember a request, from before it is known whose it is."""
        if getattr(handler, "_landbridge_noted", False):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # of another thread, which answers no request
        handler._landbridge_noted = True
        self.open.append(Open(auth, handler))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._watch())

    async def _watch(self) -> None:
        while self.open:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Close what was opened with a right that has ended."""
        self.open = [one for one in self.open if one.is_open()]
        groups: Dict[Tuple[int, Credential], List[Open]] = {}
        for one in self.open:
            credential = one.credential()
            if credential is not None:
                groups.setdefault((id(one.auth), credential), []).append(one)
        if not groups:
            return
        ended = await asyncio.gather(
            *(self._has_ended(many[0].auth, key[1]) for key, many in groups.items())
        )
        for many, is_over in zip(groups.values(), ended):  # noqa: B905 -- not in 3.8
            if is_over:
                log.warning(
                    "A token or session has ended: closing %d of its connections",
                    len(many),
                )
                for one in many:
                    one.close()

    async def _has_ended(self, auth: Any, credential: Credential) -> bool:
        token, session = credential
        try:
            user = await asyncio.wait_for(
                auth.user_for_token(token, session_id=session, sync=False), ASK_SECONDS
            )
        except Exception as error:  # noqa: BLE001 -- the hub has not said no
            if not self._told:
                log.warning("The hub cannot be asked who is signed in: %s", error)
            self._told = True
            return False
        self._told = False
        if user is None:
            return True
        wanted = auth.access_scopes
        return bool(wanted) and not auth.check_scopes(wanted, user)


def keep_short(hub_auth: Any) -> None:
    """Have every ``HubAuth`` made from now on forget the hub's answers in time."""
    begin = hub_auth.__init__

    def begin_short(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        # Zero is for ever to it.
        if not 0 < self.cache_max_age <= CACHE_SECONDS:
            self.cache_max_age = CACHE_SECONDS
        # Made when it is first asked for, and then of this age for good.
        self.cache  # noqa: B018

    hub_auth.__init__ = begin_short


def is_away(auth: Any) -> bool:
    """Ask the edge whether there is no hub. A hub that is slow or confused is there."""
    context = None
    if urllib.parse.urlsplit(auth.api_url).scheme == "https":
        context = ssl.create_default_context(cafile=auth.client_ca or None)
        context.check_hostname = False  # as JupyterHub does, with the gateway's own CA
        if auth.certfile:
            context.load_cert_chain(auth.certfile, auth.keyfile or None)
    handlers: List[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        urllib.request.build_opener(*handlers).open(auth.api_url, timeout=ASK_SECONDS)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.headers.get(AWAY_HEADER) == AWAY
    except OSError:
        pass  # the edge is away, too: nothing says that there is no hub
    return False


def be_patient(hub_auth: Any) -> None:
    """Have every ``HubAuth`` believe the hub's last answer while there is no hub."""
    ask = getattr(hub_auth, "_check_hub_authorization", None)
    if not inspect.iscoroutinefunction(ask):
        log.warning("This JupyterHub is unknown: without the hub nobody is recognized")
        return

    async def ask_patiently(
        self: Any,
        url: str,
        api_token: str,
        cache_key: Optional[str] = None,
        use_cache: bool = True,  # noqa: FBT001, FBT002 -- as JupyterHub has it
    ) -> Any:
        if not hasattr(self, "_landbridge_last"):
            self._landbridge_last = OrderedDict()
        last = self._landbridge_last
        key = cache_key or ""
        try:
            user = await ask(self, url, api_token, cache_key, use_cache)
        except Exception:
            said_at, user = last.get(key, (0.0, None))
            is_old = time.monotonic() - said_at > AWAY_SECONDS
            if user is None or is_old:
                raise
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(None, is_away, self):
                raise
            return user
        last.pop(key, None)
        if user and key:
            last[key] = (time.monotonic(), user)
        while len(last) > MOST_REMEMBERED:
            last.popitem(last=False)
        return user

    hub_auth._check_hub_authorization = ask_patiently


def follow(hub_auth: Any) -> Rights:
    """Have every request that ``hub_auth`` identifies watched; return who does it."""
    rights = Rights()
    get_user = hub_auth.get_user

    def get_and_note(self: Any, handler: Any, *args: Any, **kwargs: Any) -> Any:
        rights.note(self, handler)
        return get_user(self, handler, *args, **kwargs)

    hub_auth.get_user = get_and_note
    return rights


class WithoutSessions(logging.Filter):
    """Drops messages of JupyterHub's that hold a session's id or a whole answer."""

    # jupyterhub._xsrf_utils and jupyterhub.services.auth, which tell both to anybody
    # who may read the job's output; a session's id is also a cookie's value.
    beginnings = (
        "Setting new xsrf cookie",
        "xsrf id mismatch",
        "Received request from Hub user",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for those."""
        return not str(record.msg).startswith(self.beginnings)


def install() -> None:
    """Do all of it in this process, before the server is made."""
    from jupyterhub.services.auth import HubAuth

    keep_short(HubAuth)
    be_patient(HubAuth)
    follow(HubAuth)
    logging.getLogger("tornado.application").addFilter(WithoutSessions())
