"""The pages of the storage service that are for people, not programs."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.common.handlers import PageHandler

from .service import Storage

_HERE = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)
STATIC = _HERE / "static"


class StartPage(PageHandler):
    """The page at the service's own address."""

    async def get(self) -> None:
        """Show the panel, where it was built, or what there is without it."""
        caller = await self.signed_in()
        if caller is None:
            return
        self.set_header("Content-Security-Policy", self.page_policy())
        self.set_header("Content-Type", "text/html; charset=utf-8")
        # Reading it has the hub's OAuth set the cookie that calls have to repeat.
        token = self.xsrf_token
        storage: Storage = self.serving.context
        page = _TEMPLATES.get_template("storage.html").render(
            base_url=storage.base_url,
            prefix=f"{storage.base_url}services/storage/",
            user=caller.name,
            nonce=self.nonce,
            panel=(STATIC / "storage.js").is_file(),
            xsrf=token.decode() if isinstance(token, bytes) else token,
        )
        self.finish(page)
