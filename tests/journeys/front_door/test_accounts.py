"""Accounts of the machine at a running gateway: who signs in, and who no longer may.

As root, with PAM, local jobs of the users' own accounts, and the embedded store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from rigs.checkout import CHECKOUT
from rigs.hub.process import HubProcess, running_hub, until
from services.storage.s3.client import S3Client
from services.storage.s3.errors import AccessDenied
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey

pytestmark = pytest.mark.root

NAME = f"lbg{os.getpid()}"
SYSTEM = f"lbs{os.getpid()}"
NO_SHELL = f"lbn{os.getpid()}"
GROUP = f"lbcrew{os.getpid()}"
WORD = "a right password"
PROMISED_SECONDS = 30.0

SETTINGS = """
[auth]
kind = "pam"
[scheduler]
runner = "root"
[storage]
group_bucket = "group-{group}"
"""


def run(*argv: str, stdin: str | None = None) -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)


@pytest.fixture(scope="module")
def accounts() -> Iterator[None]:
    """A person in a group, a system account and one without a shell."""
    run("groupadd", GROUP)
    run("useradd", "-m", "-s", "/bin/bash", "-G", GROUP, NAME)
    run("useradd", "-r", "-s", "/bin/bash", SYSTEM)
    run("useradd", "-s", "/usr/sbin/nologin", NO_SHELL)
    names = (NAME, SYSTEM, NO_SHELL)
    try:
        run("chpasswd", stdin="".join(f"{name}:{WORD}\n" for name in names))
        yield
    finally:
        for name in names:
            subprocess.run(["userdel", "-r", name], check=False, capture_output=True)
        subprocess.run(["groupdel", GROUP], check=False)


@pytest.fixture(scope="module")
def hub(accounts: None) -> Iterator[HubProcess]:
    directory = Path(tempfile.mkdtemp(prefix="lbtest-", dir="/var/tmp"))
    directory.chmod(0o755)
    config = directory / "gateway.toml"
    config.write_text(SETTINGS)
    for name in ("profiles.yaml", "jupyterhub_config.py"):
        shutil.copy(CHECKOUT / "config" / name, directory)
    try:
        with running_hub(directory, LANDBRIDGE_CONFIG=str(config)) as hub:
            yield hub
    finally:
        shutil.rmtree(directory)


class Browser:
    """Somebody's cookies at the sign-in page."""

    def __init__(self, hub: HubProcess) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{hub.port}", trust_env=False, timeout=60
        )
        self.http.get("/hub/login")

    def sign_in(self, name: str | bytes, word: str = WORD) -> httpx.Response:
        return self.http.post(
            "/hub/login",
            data={
                "username": name,
                "password": word,
                "_xsrf": self.http.cookies.get("_xsrf", path="/hub/"),
            },
            headers={"Sec-Fetch-Mode": "navigate"},
        )


@pytest.fixture
def browser(hub: HubProcess) -> Iterator[Browser]:
    one = Browser(hub)
    yield one
    one.http.close()


HOSTILE: list[str | bytes] = [
    "A" * 900_000,
    "a" * 33,
    b"\xff\xfe\x00\x01" * 5,
    "ada\0",
    "ada\nroot",
    "../../etc/passwd",
    "\u212aate",
]


def test_a_hostile_name_costs_nothing_and_tells_nothing(hub, browser):
    words = set()
    size = hub.log.stat().st_size
    for name in [*HOSTILE, *HOSTILE]:
        answer = browser.sign_in(name)
        assert answer.status_code == 403
        assert len(answer.text) < 20_000
        words.add("Invalid username or password" in answer.text)
    assert words == {True}
    assert hub.process.poll() is None
    added = hub.log.read_bytes()[size:]
    assert len(added) < 1_000 * 2 * len(HOSTILE)
    assert max(map(len, added.splitlines())) < 1_000


def test_five_megabytes_do_not_end_the_hub(hub):
    """Past the edge, by the hub's own socket, where nobody else bounds the form."""
    sockets = [p for p in hub.state.rglob("*") if p.is_socket() and "hub" in p.name]
    transport = httpx.HTTPTransport(uds=str(sockets[0]))
    origin = f"http://127.0.0.1:{hub.port}"
    with httpx.Client(transport=transport, base_url=origin) as direct:
        direct.get("/hub/login")

        def sign_in(name: str | bytes) -> httpx.Response:
            word = direct.cookies.get("_xsrf", path="/hub/")
            form = {"username": name, "password": "x", "_xsrf": word}
            return direct.post("/hub/login", data=form)

        for name in ("A" * 1_000_000, b"\xff" * 300_000, "A" * 5_000_000):
            with contextlib.suppress(httpx.TransportError):  # it may hang up at once
                answer = sign_in(name)
                assert answer.status_code in (400, 403, 413)
                assert len(answer.content) < 20_000
    assert hub.process.poll() is None
    assert hub.call("GET", "info")


def test_the_right_password_of_no_person_answers_as_a_wrong_one(hub, browser):
    answers = set()
    times = []
    for name, word in [
        (SYSTEM, WORD),
        (SYSTEM, "wrong"),
        (NO_SHELL, WORD),
        ("nobody", "wrong"),
        ("no-such-account", "wrong"),
        (NAME, "wrong"),
    ]:
        began = time.monotonic()
        answer = browser.sign_in(name, word)
        times.append(time.monotonic() - began)
        answers.add((answer.status_code, answer.text.replace(name, "NAME")))
    # The form repeats name and token, and is else the same to the letter.
    assert {status for status, _ in answers} == {403}
    assert all("Invalid username or password" in text for _, text in answers)
    assert max(times) - min(times) < 1.5, times
    assert browser.sign_in(NAME).status_code == 302


def test_names_in_the_hubs_api_are_checked_before_the_directory(hub):
    for name in ("A" * 5_000, "a%00b", "root", SYSTEM, "no-such-account"):
        answer = hub.api.post(f"/hub/api/users/{name}")
        assert answer.status_code in (400, 404), (name, answer.text)
    answer = hub.api.post("/hub/api/users", json={"usernames": ["A" * 100_000]})
    assert answer.status_code == 400
    assert hub.process.poll() is None
    assert {user["name"] for user in hub.call("GET", "users")} <= {NAME}


def within(what: str, look: Callable[[], object]) -> None:
    """Wait for a fact that is promised; a user has few sets of keys at a time."""
    until(what, look, seconds=PROMISED_SECONDS, every=1.0)


class Keys:
    """Keys of the storage service, and what they still open."""

    def __init__(self, given: dict[str, str]) -> None:
        self._address = StoreAddress(
            given["endpoint"], region=given["region"], attempts=1
        )
        self._key = AccessKey(
            given["access_key"], given["secret_key"], given["session_token"]
        )

    def open(self, bucket: str) -> bool:
        """Whether they list a bucket; another failure than a refusal is one."""

        async def look() -> bool:
            client = S3Client(self._address, self._key)
            try:
                await client.list(bucket, "")
            except AccessDenied:
                return False
            finally:
                await client.close()
            return True

        return asyncio.run(look())


@pytest.fixture
def token(hub: HubProcess, browser: Browser) -> str:
    assert browser.sign_in(NAME).status_code == 302
    return str(hub.call("POST", f"users/{NAME}/tokens", {})["token"])


def ask(hub: HubProcess, token: str, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(
        method,
        f"http://127.0.0.1:{hub.port}{path}",
        headers={"Authorization": f"Bearer {token}"},
        json={} if method == "POST" else None,
        trust_env=False,
        timeout=60,
    )


STORAGE = "/services/storage/api/v1"


def test_who_leaves_a_unix_group_loses_its_bucket(hub, token):
    storage = f"{STORAGE}/credentials"
    until("storage", lambda: ask(hub, token, "/services/storage/health").is_success)

    def buckets() -> set[str]:
        answer = ask(hub, token, storage, "POST")
        assert answer.is_success, answer.text
        return {grant["bucket"] for grant in answer.json()["grants"]}

    made = ask(hub, token, storage, "POST").json()
    bucket = f"group-{GROUP}"
    assert bucket in {grant["bucket"] for grant in made["grants"]}, made
    keys = Keys(made)
    assert keys.open(bucket)
    run("gpasswd", "-d", NAME, GROUP)
    began = time.monotonic()
    within("no new keys", lambda: bucket not in buckets())
    within("old keys end", lambda: not keys.open(bucket))
    assert time.monotonic() - began < PROMISED_SECONDS
    assert keys.open(NAME)
    run("gpasswd", "-a", NAME, GROUP)
    within("back in the group", lambda: bucket in buckets())


@pytest.mark.parametrize(
    ("lock", "unlock"),
    [
        (["usermod", "-L", NAME], ["usermod", "-U", NAME]),
        (["chage", "-E", "1", NAME], ["chage", "-E", "-1", NAME]),
    ],
)
def test_a_locked_account_is_refused_everywhere(hub, token, browser, lock, unlock):
    def refused(path: str) -> Callable[[], bool]:
        return lambda: ask(hub, token, path).status_code in (401, 403)

    def at_home() -> bool:
        return browser.http.get("/hub/home").status_code == 200

    keys = Keys(ask(hub, token, f"{STORAGE}/credentials", "POST").json())
    assert keys.open(NAME)
    assert ask(hub, token, "/hub/api/user").json()["name"] == NAME
    assert at_home()
    run(*lock)
    began = time.monotonic()
    try:
        within("the hub refuses the token", refused("/hub/api/user"))
        within("so is the page", lambda: not at_home())
        within("storage refuses the token", refused(f"{STORAGE}/buckets"))
        within("the keys end", lambda: not keys.open(NAME))
        assert time.monotonic() - began < PROMISED_SECONDS
        assert browser.sign_in(NAME).status_code == 403
    finally:
        run(*unlock)
    within(
        "good again", lambda: ask(hub, token, f"{STORAGE}/buckets").status_code == 200
    )


def test_a_deleted_account_is_refused(hub, token):
    assert ask(hub, token, f"{STORAGE}/buckets").status_code == 200
    run("userdel", NAME)
    began = time.monotonic()
    for path in ("/hub/api/user", f"{STORAGE}/buckets"):
        within(path, lambda path=path: ask(hub, token, path).status_code in (401, 403))
    assert time.monotonic() - began < PROMISED_SECONDS
