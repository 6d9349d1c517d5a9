"""What others own or can change is refused; what is ours but too open is closed."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from spawners.common.ownership import (
    NotOurs,
    check_below,
    check_way,
    own_directory,
    read_own,
)

STRANGER = 12_345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_made_and_taken_again(tmp_path):
    own_directory(tmp_path / "a" / "b")
    own_directory(tmp_path / "a" / "b")
    assert mode_of(tmp_path / "a" / "b") == 0o700


def test_ours_that_is_too_open_is_closed(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room").chmod(0o777)
    own_directory(tmp_path / "room")
    assert mode_of(tmp_path / "room") == 0o700


def test_a_state_may_be_entered_but_not_written_by_others(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o775)
    own_directory(tmp_path / "state", readable=True)
    assert mode_of(tmp_path / "state") == 0o755


def test_a_file_in_its_place_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        own_directory(tmp_path / "file")


def test_our_own_link_to_another_disk_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    own_directory(tmp_path / "state")
    assert mode_of(tmp_path / "disk") == 0o700


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        check_way(tmp_path / "a" / "state")


def test_a_way_goes_up_and_down(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "up").symlink_to("a/../a/.")
    assert check_way(tmp_path / "up" / "x") == str(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_parent_that_everybody_can_change_is_refused(tmp_path, mode):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    with pytest.raises(NotOurs, match=r"everybody.*chmod o-w"):
        own_directory(tmp_path / "shared" / "state")
    assert not (tmp_path / "shared" / "state").exists()
    (tmp_path / "shared").chmod(0o1777)  # as /tmp: nobody replaces another's
    own_directory(tmp_path / "shared" / "state")


@needs_root
def test_a_parent_of_a_strangers_group_is_refused(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o775)
    own_directory(tmp_path / "shared" / "state")  # root's group is root
    os.chown(tmp_path / "shared", 0, STRANGER)
    with pytest.raises(NotOurs, match="by the group 12345"):
        own_directory(tmp_path / "shared" / "state")


@needs_root
@pytest.mark.parametrize("what", ["parent", "itself", "link"])
def test_a_strangers_directory_is_refused(tmp_path, what):
    state = tmp_path / "theirs" / "state"
    state.mkdir(parents=True)
    path = {"parent": state.parent, "itself": state, "link": tmp_path / "link"}[what]
    if what == "link":
        path.symlink_to(state)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(NotOurs, match="belongs to the uid 12345") as refused:
        own_directory(tmp_path / "link" if what == "link" else state)
    assert refused.value.filename == str(path)
    assert mode_of(state) == 0o755  # nothing was changed


@needs_root
def test_what_a_stranger_put_into_an_open_directory_is_found(tmp_path):
    room = tmp_path / "room"
    (room / "deep").mkdir(parents=True)
    room.chmod(0o777)
    (room / "deep" / "planted").symlink_to("/etc/passwd")
    os.chown(room / "deep" / "planted", STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(NotOurs, match="planted belongs to"):
        own_directory(room)
    with pytest.raises(NotOurs, match="planted belongs to"):
        check_below(room)
    own_directory(tmp_path / "room" / "deep", others=[STRANGER])


@needs_root
def test_another_account_may_own_what_it_was_given(tmp_path):
    (tmp_path / "store").mkdir(mode=0o700)
    os.chown(tmp_path / "store", STRANGER, STRANGER)
    own_directory(tmp_path / "store", others=[STRANGER])
    with pytest.raises(NotOurs):
        own_directory(tmp_path / "store", others=[STRANGER + 1])


def secret(path, mode=0o600):
    path.write_bytes(b"secret")
    path.chmod(mode)
    return path


def test_a_secret_of_ours_is_read(tmp_path):
    assert read_own(secret(tmp_path / "key")) == b"secret"
    assert read_own(secret(tmp_path / "cert", 0o644), private=False) == b"secret"
    with pytest.raises(FileNotFoundError):
        read_own(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_secret_that_others_can_open_is_refused(tmp_path, mode):
    path = secret(tmp_path / "key", mode)
    with pytest.raises(NotOurs, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_own(path)
    with pytest.raises(NotOurs):
        read_own(secret(tmp_path / "cert", 0o664), private=False)


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "link").symlink_to(secret(tmp_path / "key"))
    os.link(secret(tmp_path / "one"), tmp_path / "two")
    (tmp_path / "directory").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("pipe", "link", "one", "directory", "socket"):
            with pytest.raises(NotOurs, match=r"regular file|second name"):
                read_own(tmp_path / name)


@needs_root
def test_a_strangers_secret_is_refused(tmp_path):
    path = secret(tmp_path / "key")
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(NotOurs, match=r"and not to root.*chown"):
        read_own(path)
