"""What ``auto`` means, and whose account everybody's notebook is."""

from __future__ import annotations

import json
import pwd
import time
from pathlib import Path

import httpx
import pytest

from hub.config import site as detecting
from hub.config.settings import load_settings
from hub.config.site import check_accounts, detect
from spawners.common.settings import ConfigError

TOKEN = "0123456789abcdef"
READY_SECONDS = 90


@pytest.fixture
def decided(tmp_path, monkeypatch):
    """Tell as whom a hub of these settings runs its users' jobs."""

    def decide(uid, kind, runner="auto", *, everybody_is_root=False):
        monkeypatch.setattr(detecting.os, "geteuid", lambda: uid)
        path = tmp_path / "gateway.toml"
        path.write_text(
            f'[scheduler]\nkind = "{kind}"\nrunner = "{runner}"\nssh_host = "login"\n'
            f"everybody_is_root = {json.dumps(everybody_is_root)}\n[jobs]\nport = 1\n"
        )
        settings = load_settings({"LANDBRIDGE_CONFIG": str(path)})
        site = detect(settings)
        check_accounts(settings, site)
        return site.runner, site.own_accounts

    return decide


def test_root_gives_everybody_an_own_account(decided):
    assert decided(0, "slurm") == ("root", True)
    assert decided(0, "local") == ("root", True)
    assert decided(0, "local", "root") == ("root", True)


def test_an_account_runs_everything_itself(decided):
    assert decided(1000, "slurm") == ("self", False)
    assert decided(1000, "local") == ("self", False)
    assert decided(1000, "slurm", "sudo") == ("sudo", True)


@pytest.mark.parametrize("kind", ["slurm", "local"])
def test_notebooks_of_root_need_a_word_that_says_so(decided, kind):
    with pytest.raises(ConfigError, match="whoever signs in owns this machine") as no:
        decided(0, kind, "self")
    assert "account of your own" in str(no.value)
    assert decided(0, kind, "self", everybody_is_root=True) == ("self", False)


def test_the_word_alone_is_enough_without_slurm_and_changes_nothing_with_it(decided):
    assert decided(0, "local", everybody_is_root=True) == ("self", False)
    assert decided(0, "slurm", everybody_is_root=True) == ("root", True)


@pytest.mark.parametrize("runner", ["root", "sudo", "ssh"])
def test_accounts_that_would_not_be_used_are_refused(decided, runner):
    """All jobs would run as the hub's account, while sign-in speaks of others."""
    with pytest.raises(ConfigError, match=f"runner = {runner}"):
        decided(1000, "local", runner)


@pytest.mark.parametrize("runner", ["sudo", "ssh"])
def test_a_way_to_slurm_is_refused_without_it(decided, runner):
    with pytest.raises(ConfigError, match="Slurm's commands"):
        decided(0, "local", runner)


def test_the_variable_says_yes_or_no(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text("")
    environment = {"LANDBRIDGE_CONFIG": str(path)}
    for word, meant in (("yes", True), ("no", False), ("", False)):
        settings = load_settings({**environment, "LANDBRIDGE_EVERYBODY_IS_ROOT": word})
        assert settings.scheduler.everybody_is_root is meant
    with pytest.raises(ConfigError, match="must be yes or no"):
        load_settings({**environment, "LANDBRIDGE_EVERYBODY_IS_ROOT": "1"})


@pytest.mark.root
def test_up_as_root_without_slurm_refuses_to_make_everybody_root(run, place):
    Path(place["LANDBRIDGE_CONFIG"]).write_text('[scheduler]\nrunner = "self"\n')
    up = run("up", LANDBRIDGE_EVERYBODY_IS_ROOT="no")
    assert up.wait() == 1
    assert len(up.lines) == 1
    assert "everybody's notebook as root" in up.lines[0]
    doctor = run("doctor", LANDBRIDGE_EVERYBODY_IS_ROOT="no")
    doctor.wait_for("everybody's notebook as root")
    assert doctor.wait() == 1
    doctor = run("doctor", LANDBRIDGE_EVERYBODY_IS_ROOT="yes")
    doctor.wait_for("warn  runner")


@pytest.mark.root
def test_up_as_root_without_slurm_runs_notebooks_as_their_users(run, short_tmp, people):
    short_tmp.chmod(0o755)
    person = pwd.getpwnam(people[0])
    up = run("up", LANDBRIDGE_EVERYBODY_IS_ROOT="no", LANDBRIDGE_ADMIN_TOKEN=TOKEN)
    assert "an account of this machine" in up.wait_for("Sign in as")
    site = f"http://127.0.0.1:{up.port}"
    with httpx.Client(base_url=site, timeout=30, trust_env=False) as browser:
        page = browser.get("/hub/login")
        answer = browser.post(
            "/hub/login",
            data={
                "username": "mallory-no-such-account",
                "password": "open sesame",
                "_xsrf": browser.cookies["_xsrf"],
            },
            headers={"Origin": site},
        )
        assert page.status_code == 200
        assert answer.status_code == 403
    headers = {"Authorization": f"token {TOKEN}"}
    with httpx.Client(
        base_url=f"{site}/hub/api", headers=headers, timeout=30, trust_env=False
    ) as admin:
        assert admin.post(f"/users/{person.pw_name}").status_code == 201
        for name in ("mallory-no-such-account", "daemon"):
            assert admin.post(f"/users/{name}").status_code == 400
            assert admin.post(f"/users/{name}/server").status_code == 404
        assert admin.post(f"/users/{person.pw_name}/server").status_code in (201, 202)
        deadline = time.monotonic() + READY_SECONDS
        while not admin.get(f"/users/{person.pw_name}").json()["server"]:
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.2)
    assert owners_of_servers(person.pw_dir) == {person.pw_uid}
    assert up.end() == 0


def owners_of_servers(home: str) -> set[int]:
    """Return the accounts that notebook servers with this home run as."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if (
                b"notebook_server.py" in words
                and str((process / "cwd").readlink()) == home
            ):
                found.add(process.stat().st_uid)
        except OSError:
            continue
    return found
