"""Files of ours alone: whole or not at all, new or not at all, secrets made once."""

from __future__ import annotations

import os
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
