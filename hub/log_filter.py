"""Keeps out of the log what JupyterHub would write there of its users' sessions."""

from __future__ import annotations

import logging

from tornado.log import app_log

# jupyterhub._xsrf_utils tells the session's id, which is also a cookie's value.
_WITH_SESSION_IDS = ("Setting new xsrf cookie", "xsrf id mismatch")


class WithoutSessions(logging.Filter):
    """Drops messages that hold a session's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for those."""
        return not str(record.msg).startswith(_WITH_SESSION_IDS)


def keep_sessions_private() -> None:
    """Have Tornado's application log drop such messages from now on."""
    if not any(
        isinstance(log_filter, WithoutSessions) for log_filter in app_log.filters
    ):
        app_log.addFilter(WithoutSessions())
