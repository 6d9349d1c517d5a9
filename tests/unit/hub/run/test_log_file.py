"""Logs that strangers write into: short lines, files that do not grow on."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from hub.run.log_file import LONGEST_LINE, Lines, LogFile, copy_pipe
from services.common.short_lines import LONGEST_MESSAGE, keep_lines_short
from spawners.common.process_log import begin_log, cap_log


async def test_what_processes_write_to_a_pipe_is_in_the_files_line_by_line(tmp_path):
    file = LogFile(tmp_path / "hub.log", most_bytes=2000)
    reading, writing = os.pipe()
    copying = asyncio.create_task(copy_pipe(reading, file))
    sent = [f"line {number} zoé" for number in range(150)]
    data = "\n".join(sent).encode()
    for start in range(0, len(data), 7):
        os.write(writing, data[start : start + 7])
        await asyncio.sleep(0)
    os.close(writing)
    await copying
    file.close()
    paths = [tmp_path / f"hub.log{end}" for end in (".3", ".2", ".1", "")]
    text = "".join(path.read_text() for path in paths if path.exists())
    assert text.splitlines() == sent
    for path in paths:
        if path.exists():
            assert path.stat().st_size <= 2000
            assert path.stat().st_mode & 0o777 == 0o600


def test_no_more_than_four_files_are_kept(tmp_path):
    file = LogFile(tmp_path / "hub.log", most_bytes=100)
    for number in range(200):
        file.write(b"%048d\n" % number)
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["hub.log", "hub.log.1", "hub.log.2", "hub.log.3"]
    assert (tmp_path / "hub.log").read_bytes().endswith(b"199\n")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 400


def test_a_line_of_five_megabytes_is_cut_and_says_so(tmp_path):
    file = LogFile(tmp_path / "hub.log")
    lines = Lines(file)
    for _ in range(500):
        lines.feed(b"A" * 10_000)
    lines.feed(b"\nnext\n")
    file.close()
    long, after = (tmp_path / "hub.log").read_bytes().splitlines()
    assert len(long) < LONGEST_LINE + 100
    assert long.endswith(b" [... %d bytes left out]" % (5_000_000 - LONGEST_LINE))
    assert after == b"next"


def test_what_the_disk_did_not_take_is_told(tmp_path):
    directory = tmp_path / "logs"
    file = LogFile(directory / "hub.log")
    file.write(b"lost\n")
    directory.mkdir()
    file.write(b"kept\n")
    file.close()
    first, second = (directory / "hub.log").read_bytes().splitlines()
    assert b"did not take 5 bytes" in first
    assert second == b"kept"


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


def test_a_log_that_its_process_has_open_is_put_aside(tmp_path):
    path = tmp_path / "weed.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 300)
        cap_log(path, most_bytes=500)
        assert path.stat().st_size == 300
        writer.write(b"y" * 300)
        cap_log(path, most_bytes=500)
        writer.write(b"z")
    assert path.read_bytes() == b"z"
    assert (tmp_path / "weed.log.1").read_bytes() == b"x" * 300 + b"y" * 300
    assert begin_log(path) == 1
    assert begin_log(tmp_path / "none.log") == 0
