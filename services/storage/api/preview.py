"""The page of the frame in which objects are shown: no origin, no session, no network.

It holds nothing of anybody's: the page around it hands bytes in, which only its
scripts read (``extensions/lab/src/preview``, built into ``static/``).
"""

from __future__ import annotations

from pathlib import Path

from tornado.web import HTTPError

from services.common.web.handlers import BaseHandler

_PAGE = Path(__file__).parents[1] / "static" / "preview.html"


class PreviewPage(BaseHandler):
    """``GET preview``: the same for everybody, so nobody has to be signed in."""

    def get(self) -> None:
        """Answer the page, which has no rights whatever embeds it."""
        if not _PAGE.is_file():
            raise HTTPError(404, reason="Previews were not built into this service.")
        # A frame without an origin is nobody's "self": its scripts are named in full.
        scripts = f"{self.request.host}{self.request.path.removesuffix('preview')}"
        self.set_header(
            "Content-Security-Policy",
            "sandbox allow-scripts; default-src 'none'; "
            f"script-src {scripts}static/ 'wasm-unsafe-eval'; worker-src blob:; "
            f"style-src {scripts}static/; img-src blob: data:; "
            "base-uri 'none'; form-action 'none'",
        )
        # The sandbox is what protects here; JupyterLab may have a host of its own.
        self.clear_header("X-Frame-Options")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_PAGE.read_bytes())
