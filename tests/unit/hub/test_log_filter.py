"""What must not be in the hub's log."""

from __future__ import annotations

import pytest
from tornado.log import app_log

from hub.log_filter import keep_sessions_private


def test_a_sessions_id_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    keep_sessions_private()
    keep_sessions_private()
    with caplog.at_level("DEBUG", logger=app_log.name):
        app_log.info("Setting new xsrf cookie for %r %r", b"session:user", {})
        app_log.debug("xsrf id mismatch %r != %r", b"a:b", b"c:d")
        app_log.info("all else")
    assert [record.message for record in caplog.records] == ["all else"]
