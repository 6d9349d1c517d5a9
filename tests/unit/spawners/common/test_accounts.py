"""Whose account a person may use: one rule, however it is asked."""

from __future__ import annotations

import inspect
import pwd
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch.errors import NotPermitted
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.runners import launcher
from spawners.common import accounts
from spawners.common.accounts import (
    NoPerson,
    account_fault,
    brief,
    find_person,
    is_account_name,
)

TODAY = 20_000
HOSTILE = [
    "A" * 5_000_000,
    "a" * 33,
    "",
    "\0",
    "ada\0",
    "ada\n",
    "a\nb",
    "../etc",
    "ada:x:0",
    "\udcff\udcfe",
    "Ada",
    "-ada",
]


def entry(uid: int = 1000, gid: int = 1000, shell: str = "/bin/bash"):
    return pwd.struct_passwd(("ada", "x", uid, gid, "", "/home/ada", shell))


def shadow(password: str = "$6$salt$hash", **days: int) -> list[str]:
    fields = ["ada", password, "19000", "0", "99999", "7", "", "", ""]
    places = {"changed": 2, "most": 4, "grace": 6, "end": 7}
    for key, value in days.items():
        fields[places[key]] = str(value)
    return fields


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_never_reaches_the_directory(name, monkeypatch):
    monkeypatch.setattr(pwd, "getpwnam", lambda _: pytest.fail("it was asked"))
    with pytest.raises(NoPerson) as caught:
        find_person(name)
    text = str(caught.value)
    assert len(text) < 300
    assert text.isprintable()


@given(st.text(max_size=60) | st.binary(max_size=60) | st.none() | st.integers())
def test_a_name_is_plain_and_short_or_none(value):
    if is_account_name(value):
        assert re.fullmatch(r"[a-z0-9_.-]{1,32}", value)
        assert value[0] not in "-.0123456789"
    assert brief(value).isascii() or brief(value).endswith("…")
    assert "\n" not in brief(value)


@pytest.mark.parametrize("uid", [1000, 60_001, 200_001, 1_234_567_890, 2**31])
def test_directory_accounts_have_large_numbers(uid):
    assert account_fault(entry(uid), 1000, [], TODAY) == ""


@pytest.mark.parametrize("uid", [0, 1, 999, 65534, 65535, 2**32 - 1])
def test_accounts_of_the_system_are_no_persons(uid):
    assert "not the account of a person" in account_fault(entry(uid), 1000, [], TODAY)
    assert account_fault(entry(0), 0, [], TODAY)  # whatever a site sets


def test_the_group_of_root_makes_no_person():
    assert account_fault(entry(gid=0), 1000, [], TODAY)


@pytest.mark.parametrize(
    "shell", ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"]
)
def test_an_account_needs_a_login_shell(shell):
    assert "no login shell" in account_fault(entry(shell=shell), 1000, [], TODAY)
    assert account_fault(entry(shell=""), 1000, [], TODAY) == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (shadow(), ""),
        (shadow("!"), ""),  # no password was ever set: signs in another way
        (shadow("!!"), ""),
        (shadow("*"), ""),
        (shadow("!$6$salt$hash"), "is locked"),
        (shadow("!!$6$salt$hash"), "is locked"),
        (shadow(end=TODAY + 1), ""),
        (shadow(end=TODAY), "has expired"),
        (shadow(end=0), "has expired"),
        (shadow(most=90, grace=30, changed=TODAY - 120), ""),
        (shadow(most=90, grace=30, changed=TODAY - 121), "has expired with its"),
        (shadow(most=90, grace=30, changed=0), ""),  # must change it first
        (["ada", "!$6$x"], ""),  # no line of this file
    ],
)
def test_locked_and_expired_accounts_are_told(line, fault):
    found = account_fault(entry(), 1000, line, TODAY)
    assert found == "" if not fault else found.startswith(fault)


@given(st.lists(st.text(max_size=20), max_size=12))
def test_any_shadow_line_is_judged(line):
    assert isinstance(account_fault(entry(), 1000, line, TODAY), str)


def test_the_launcher_holds_the_same_rule():
    for name in ("account_fault", "shadow_of"):
        ours, theirs = getattr(accounts, name), getattr(launcher, name)
        assert inspect.getsource(ours) == inspect.getsource(theirs)
    for name in ("_NOBODY", "_NO_LOGIN", "_SHADOW"):
        assert getattr(accounts, name) == getattr(launcher, name)
    assert launcher.USER_NAME == accounts.ACCOUNT
    assert launcher.Settings().minimum_uid == accounts.LOWEST_UID


@pytest.mark.parametrize("name", ["root", "daemon", "nobody", "no-such-account"])
async def test_every_way_to_a_job_refuses_the_same_names(name, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 0)
    local = LocalScheduler(LocalSettings(tmp_path, switch_user=True))
    try:
        with pytest.raises(NotPermitted):
            local._identity(name)
    finally:
        await local.close()
    with pytest.raises(launcher.Refused):
        launcher.find_account(name, launcher.Settings())
    with pytest.raises(NoPerson):
        find_person(name)


@pytest.mark.root
def test_a_locked_account_is_refused_until_it_is_unlocked(own_account):
    name = own_account
    subprocess.run(["chpasswd"], input=f"{name}:sesame\n", text=True, check=True)
    assert find_person(name).pw_name == name
    for lock, unlock in [
        (["usermod", "-L"], ["usermod", "-U"]),
        (["chage", "-E", "1"], ["chage", "-E", "-1"]),
        (["usermod", "-s", "/usr/sbin/nologin"], ["usermod", "-s", "/bin/bash"]),
    ]:
        subprocess.run([*lock, name], check=True)
        with pytest.raises(NoPerson):
            find_person(name)
        with pytest.raises(launcher.Refused):
            launcher.find_account(name, launcher.Settings())
        subprocess.run([*unlock, name], check=True)
        assert find_person(name).pw_name == name
