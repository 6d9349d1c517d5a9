"""Files of ours alone: whole or not at all, new or not at all, secrets made once."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys

import pytest

from spawners.common.files import ensure_secret, write_private, write_whole
from spawners.common.ownership import NotOurs


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_private(tmp_path):
    path = tmp_path / "state.json"
    path.write_text("old")
    path.chmod(0o644)
    write_whole(path, "né")
    assert path.read_bytes() == "né".encode()
    assert mode_of(path) == 0o600
    write_whole(path, b"\x00\xff", mode=0o644)
    assert path.read_bytes() == b"\x00\xff"
    assert mode_of(path) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    path = tmp_path / "ours"
    path.symlink_to(elsewhere)
    write_whole(path, "ours")
    assert not path.is_symlink()
    assert elsewhere.read_text() == "theirs"


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    seen = []
    sync = os.fsync

    def synced(descriptor):
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    write_whole(path, "12345")
    assert seen == [(5, False)]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def writer(path, in_sync):
    """A process that writes ``path`` and runs code once the draft is full."""
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from spawners.common.files import write_whole; "
        f"os.fsync = lambda descriptor: {in_sync}; "
        "write_whole(Path(sys.argv[1]), 'other')"
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_draft_of_a_killed_process_is_removed_by_the_next_write(tmp_path):
    path = tmp_path / "state.json"
    write_whole(path, "old")
    with writer(path, "os.kill(os.getpid(), signal.SIGKILL)") as killed:
        assert killed.wait() == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    beside = [tmp_path / ".state.json.backup", tmp_path / ".other.json.01234567"]
    for each in beside:
        each.write_text("of somebody else")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == sorted([path, *beside])


def test_the_draft_of_a_living_process_is_left_to_it(tmp_path):
    path = tmp_path / "state.json"
    with writer(path, "print('full', flush=True) or input()") as slow:
        assert slow.stdout.readline() == "full\n"
        write_whole(path, "new")
        assert len(list(tmp_path.iterdir())) == 2
        slow.communicate("go on\n")
        assert slow.returncode == 0
    assert path.read_text() == "other"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_that_was_taken_for_abandoned_is_begun_again(tmp_path, monkeypatch):
    """Another write comes between the making of a draft and its lock."""
    path, lock, others = tmp_path / "state.json", fcntl.flock, []

    def late(descriptor, operation):
        if operation == fcntl.LOCK_EX and not others:
            others.append(descriptor)
            write_whole(path, "other")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(path, "mine")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_loses_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    draft = tmp_path / ".state.json.01234567"
    draft.write_text("of a process that may live")

    def none(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert draft.exists()


def test_a_new_file_takes_nobodys_place(tmp_path):
    path = tmp_path / "identity.pem"
    write_private(path, "key")
    assert (path.read_text(), mode_of(path)) == ("key", 0o600)
    with pytest.raises(FileExistsError):
        write_private(path, "other")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write_private(link, "key")
    assert not (tmp_path / "target").exists()
    assert path.read_text() == "key"


def test_a_secret_is_made_once(tmp_path):
    path = tmp_path / "secret"
    first = ensure_secret(path)
    assert len(first) == 64
    assert mode_of(path) == 0o600

    def never():
        raise AssertionError

    assert ensure_secret(path, never) == first
    path.write_text("")  # made, but never filled
    assert ensure_secret(path, lambda: "other") == "other"


def test_a_secret_that_others_can_read_is_not_believed(tmp_path):
    path = tmp_path / "secret"
    ensure_secret(path)
    path.chmod(0o644)
    with pytest.raises(NotOurs, match="open to others"):
        ensure_secret(path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotOurs, match="no regular file"):
        ensure_secret(link)


def test_what_a_local_jobs_supervisor_reads_needs_the_standard_library_only():
    code = (
        "import sys, spawners.batch.local.supervisor as s; "
        "assert 'spawners.common.files' in sys.modules; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bare = [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"]
    # What the environment itself loads at every start is none of ours.
    site = subprocess.run(bare, capture_output=True, text=True, check=True)
    names = set(done.stdout.split()) - {
        n.partition(".")[0] for n in site.stdout.split()
    }
    assert names - set(sys.stdlib_module_names) == {"spawners"}
