"""Pages of a service for people: one shell around all of them.

A service has a page by naming its bundle (:class:`ServicePage`); header, themes,
Content-Security-Policy and the XSRF token come with it. What goes wrong on the way to a
page is told on one as well, to whoever asks for HTML; programs get JSON.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tornado.httputil import HTTPHeaders, url_concat
from tornado.web import HTTPError

from services.common.navigation import TEMPLATES

from .auth import Caller, identify
from .errors import BadRequest, NotThere, Problem, Refusal
from .handlers import BaseHandler

_JINJA = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
)


def accepts_html(headers: HTTPHeaders) -> bool:
    """Whether a page is asked for: a browser says so by name, no program does."""
    for part in headers.get("Accept", "").split(","):
        kind, *values = (text.strip().lower() for text in part.split(";"))
        if kind in ("text/html", "application/xhtml+xml"):
            return not any(value in ("q=0", "q=0.0") for value in values)
    return False


def origin_of(url: str) -> str:
    """Return scheme and authority of a URL; ``""`` of a path."""
    return "://".join(urlsplit(url)[:2]).removeprefix("://")


class PageHandler(BaseHandler):
    """A page for people; who is not signed in is sent to the hub first."""

    is_page = True
    looking: Caller | None = None
    """Who looks at it, as far as that was asked."""

    async def signed_in(self) -> Caller | None:
        """Return who looks at it; ``None`` after sending a stranger to sign in."""
        self.looking = await self.caller()
        if self.looking is None:
            self.redirect(self._login_url())
        return self.looking

    async def recognise(self) -> None:
        """Find out who looks at what is anybody's, for the page's header only."""
        with suppress(Refusal, HTTPError):
            self.looking = await identify(self.hub_auth, self)

    def raw_argument(self, name: str) -> str:
        """Return a value of the query with every character; ``""`` if there is none.

        Tornado's own ways take blanks and control characters out. Bytes that are no
        UTF-8 come as surrogates.
        """
        values = self.request.query_arguments.get(name) or [b""]
        if len(values) > 1:
            raise BadRequest("A value is given twice.", field=f"query.{name}")
        return values[0].decode("utf-8", "surrogateescape")

    def answer_page(self, template: str, title: str, **values: object) -> None:
        """Answer a page in the gateway's shell.

        Args:
            template: its file in ``shell/``.
            title: of the window.
            values: what the template takes besides what all do.
        """
        serving = self.serving
        self.set_header("Content-Type", "text/html; charset=utf-8")
        page = _JINJA.get_template(f"shell/{template}").render(
            title=title,
            navigation=serving.navigation,
            hub=serving.hub,
            prefix=serving.prefix,
            current=serving.spec.name,
            user=self.looking.name if self.looking else "",
            admin=self.looking is not None and self.looking.is_admin,
            sign_in=serving.prefix,
            nonce=self.nonce,
            **values,
        )
        self.finish(page)

    def answer_problem(self, problem: Problem) -> None:
        """Tell a person what is wrong on a page, a program in JSON."""
        if not accepts_html(self.request.headers):
            super().answer_problem(problem)
            return
        self.set_status(problem.status)
        self.set_header("Content-Security-Policy", self.page_policy())
        nowhere = problem.code == NotThere.code
        title = "There is nothing at this address" if nowhere else problem.message
        self.answer_page("problem.html", title, problem=problem)

    def _login_url(self) -> str:
        auth = self.hub_auth
        verifier, challenge, method = auth.generate_pkce_code_challenge()
        state = auth.set_state_cookie(
            self, next_url=self.request.uri, code_verifier=verifier
        )
        values = {
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": method,
        }
        return url_concat(str(auth.login_url), values)

    def page_policy(self, connect: str = "") -> str:
        """Return the page's Content-Security-Policy; scripts by nonce only.

        Args:
            connect: one more origin that its scripts may ask.
        """
        self.nonce = secrets.token_urlsafe(16)
        # Where the hub has another host, styles and pictures come from there.
        hub = origin_of(self.serving.hub)
        return (
            f"default-src 'none'; script-src 'nonce-{self.nonce}' 'strict-dynamic'; "
            f"style-src 'self' 'unsafe-inline' {hub}; "
            f"img-src 'self' data: blob: {hub}; "
            f"font-src 'self'; connect-src 'self' {connect}; frame-src 'self' blob:; "
            "worker-src 'self' blob:; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        )


class ServicePage(PageHandler):
    """A page that shows a panel: ``static/BUNDLE.js`` and ``.css`` of the service.

    The script finds the element whose id is the bundle's name, and what it has to know
    in its ``data-`` attributes: ``prefix``, ``base-url``, ``user``, ``xsrf``.
    """

    bundle: str
    title: str

    def connect(self) -> str:
        """Return one more origin that its scripts may ask, or ``""``."""
        return ""

    async def get(self) -> None:
        """Show the panel to whoever is signed in."""
        if await self.signed_in() is None:
            return
        self.set_header("Content-Security-Policy", self.page_policy(self.connect()))
        # Reading it has the hub's OAuth set the cookie that calls have to repeat.
        token: Any = self.xsrf_token
        self.answer_page(
            "panel.html",
            self.title,
            bundle=self.bundle,
            base_url=self.serving.base_url,
            # Another address for each build: browsers may keep what they have.
            version=self._version(),
            xsrf=token.decode() if isinstance(token, bytes) else token,
        )

    def _version(self) -> str:
        """Return what tells a build from all others; ``""`` if there is none."""
        static = self.serving.static
        script = static / f"{self.bundle}.js" if static else None
        if script is None or not script.is_file():
            return ""
        return f"{script.stat().st_mtime_ns:x}"


class NowherePage(PageHandler):
    """Every path that is no route and no page."""

    async def prepare(self) -> None:
        """Refuse, on a page for who asks for one."""
        if accepts_html(self.request.headers):
            await self.recognise()
        raise HTTPError(404, reason="There is no such page or call here.")
