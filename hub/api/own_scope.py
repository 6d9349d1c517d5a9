"""Scopes of whoever asks about herself, at the gateway's own routes on the hub.

JupyterHub's ``needs_scope`` judges a user that the address names; these routes name
none. A token that was cut down is good for what it was cut down to, here as well.
"""

from __future__ import annotations

from typing import Any

from tornado import web


def require_own(handler: Any, scope: str) -> Any:
    """Return the user who asks, if this session or token has ``scope`` for her.

    Raises:
        HTTPError: 403 for nobody, a service, or a token without the scope.
    """
    user = handler.current_user
    if user is None or getattr(user, "kind", "") != "user":
        raise web.HTTPError(403, "Sign in as a user, or send a token of one.")
    if not handler.get_scope_filter(scope)(user.orm_user, "user"):
        raise web.HTTPError(403, f"This token is not good for this: it needs {scope}.")
    return user
