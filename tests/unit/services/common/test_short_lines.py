"""Logs that strangers write into: short lines, whatever they sent."""

from __future__ import annotations

import logging

import pytest

from services.common.web.short_lines import LONGEST_MESSAGE, keep_lines_short


@pytest.fixture
def logger():
    logger = logging.Logger("of-a-test")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(logging.Formatter().format(record))
    logger.addHandler(handler)
    keep_lines_short(logger.handlers)
    keep_lines_short(logger.handlers)
    assert len(handler.filters) == 1
    return logger, lines


def test_a_long_path_or_name_makes_one_short_line(logger):
    log, lines = logger
    log.warning("404 GET %s (@%s) 1.00ms", "/hub/" + "x" * 15_000, "127.0.0.1")
    log.warning("Failed login for %s", "A" * 100_000)
    log.warning("a short one: %d", 7)
    assert [len(line) < LONGEST_MESSAGE + 60 for line in lines] == [True] * 3
    assert lines[0].startswith("404 GET /hub/xxx")
    assert lines[0].endswith("(@127.0.0.1) 1.00ms"), "who it was is at the end"
    assert "characters left out" in lines[0]
    assert lines[2] == "a short one: 7"


def test_so_does_a_traceback_that_holds_what_was_sent(logger):
    log, lines = logger
    try:
        print({}["B" * 1_000_000])
    except KeyError:
        log.exception("Uncaught")
    assert len(lines[0]) < 20_000
    assert "KeyError: 'BBB" in lines[0]
