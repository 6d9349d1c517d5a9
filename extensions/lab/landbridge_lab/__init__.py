"""Landbridge in JupyterLab: what the browser asks its own notebook server."""

from __future__ import annotations

import os
from typing import Any

from . import jobs, local_kernels, programs
from .copies import routes as copies_routes
from .gateway import relay as storage_relay
from .gateway.job import JobFacts, routes
from .kernel_parts import JobSource, kernel_jobs
from .keys import endpoint as credentials


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the built extension lies."""
    return [{"src": "labextension", "dest": "@landbridge/lab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell jupyter_server that this package is a server extension."""
    return [{"module": "landbridge_lab"}]


def _link_jupyter_server_extension(server_app: Any) -> None:
    """Choose classes before the server makes its parts (called by jupyter_server)."""
    programs.offer(server_app)
    local_kernels.link(server_app)
    kernels = kernel_jobs()
    if kernels is not None:
        kernels.link(server_app)


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Add our routes to the notebook server (called by jupyter_server)."""
    credentials.start(server_app.root_dir)
    settings = server_app.web_app.settings
    base_url = settings["base_url"]
    facts = JobFacts(dict(os.environ))
    sources: list[JobSource] = [jobs.ServerJob(server_app, facts)]
    kernels = kernel_jobs()
    if kernels is not None:
        sources += kernels.load(server_app)
    ours = [*routes(base_url, facts), *jobs.routes(base_url, sources, settings)]
    ours += storage_relay.routes(base_url, os.environ)
    ours += copies_routes.routes(settings, server_app.root_dir, os.environ)
    server_app.web_app.add_handlers(".*$", ours)
