"""Landbridge in JupyterLab: what the browser asks its own notebook server."""

from __future__ import annotations

from typing import Any

from .handlers import routes


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the built extension lies."""
    return [{"src": "labextension", "dest": "@landbridge/lab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell jupyter_server that this package is a server extension."""
    return [{"module": "landbridge_lab"}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Add our routes to the notebook server (called by jupyter_server)."""
    server_app.web_app.add_handlers(
        ".*$", routes(server_app.web_app.settings["base_url"])
    )
