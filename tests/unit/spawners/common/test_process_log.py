"""A process's log: what was written since, and its length."""

from __future__ import annotations

from spawners.common.process_log import begin_log, lines_since


def test_what_was_written_since(tmp_path):
    path = tmp_path / "log"
    assert begin_log(path) == 0
    assert lines_since(path, 0) == []
    path.write_bytes(b"old\n")
    offset = begin_log(path)
    with path.open("ab") as file:
        file.write(b"new \xff\nlast")
    assert lines_since(path, offset) == ["new \ufffd", "last"]


def test_a_long_one_begins_anew_under_its_writer(tmp_path):
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 10_000_001)
        assert begin_log(path) == 0
        writer.write(b"next\n")
    assert path.read_bytes() == b"next\n"
