"""A process's log: what was written since, and its length."""

from __future__ import annotations

from spawners.common.process_log import begin_log, cap_log, lines_since


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
    assert (tmp_path / "log.1").read_bytes() == b"x" * 10_000_001


def test_three_older_ones_are_kept_for_nobody_else(tmp_path):
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(b"%d" % number * 600)
            cap_log(path, most_bytes=500)
    assert path.read_bytes() == b""
    older = [path.with_name(f"log.{number}") for number in (1, 2, 3)]
    assert [file.read_bytes()[:1] for file in older] == [b"5", b"4", b"3"]
    assert [file.stat().st_mode & 0o777 for file in older] == [0o600] * 3
    assert set(tmp_path.iterdir()) == {path, *older}


def test_a_short_one_stays(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 500)
    cap_log(path, most_bytes=500)
    assert path.stat().st_size == 500
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_cannot_be_put_aside_does_not_grow_on(tmp_path):
    path = tmp_path / "log"
    (tmp_path / "log.2").mkdir()
    (tmp_path / "log.2" / "file").touch()
    (tmp_path / "log.1").mkdir()
    path.write_bytes(b"x" * 501)
    cap_log(path, most_bytes=500)
    assert path.read_bytes() == b""
