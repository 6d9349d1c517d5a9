"""What is seen of accounts while their people are signed in."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest

from hub.auth import account_looks
from hub.auth.account_looks import AccountLooks, Look
from hub.auth.throttle import Throttle

# A directory that a file stands for: names with fault and groups; "hang" says nothing.
DIRECTORY = """
import json, sys, time
for line in sys.stdin:
    text = open(sys.argv[1]).read()
    if text == "crash": sys.exit(1)
    if text == "hang": time.sleep(60)
    known = json.loads(text)
    names = json.loads(line)[0]
    open(sys.argv[2], "a").write(f"{len(names)}\\n")
    print(json.dumps({n: known[n] for n in names if n in known}), flush=True)
"""


class Directory:
    def __init__(self, path):
        self.file, self.asked = path / "directory", path / "asked"
        self.asked.touch()
        words = [sys.executable, "-I", "-c", DIRECTORY, str(self.file), str(self.asked)]
        self.looks = AccountLooks(1000, words)

    def says(self, **known):
        self.file.write_text(json.dumps(known))

    def says_nothing(self, how="hang"):
        self.file.write_text(how)

    @property
    def questions(self):
        return len(self.asked.read_text().split())


@pytest.fixture
async def directory(tmp_path):
    one = Directory(tmp_path)
    yield one
    await one.looks.close()


async def until(fact, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.02)


async def test_this_machine_is_read_by_a_child():
    looks = AccountLooks(1000)
    try:
        root = await looks.look("root")
        assert "not the account of a person" in root.fault
        assert "no account" in (await looks.look("no-such-account")).fault
        assert looks.refused() == ["no-such-account", "root"]
    finally:
        await looks.close()


@pytest.mark.parametrize("name", ["A" * 5_000_000, "a\nb", "\0", "\udcff"])
async def test_a_hostile_name_reaches_no_child(directory, name):
    assert "no account's name" in (await directory.looks.look(name)).fault
    assert directory.looks._child is None


async def test_a_busy_hub_asks_rarely(directory):
    directory.says(ann=["", ["crew"]], bob=["", []])
    for _ in range(200):
        assert await directory.looks.look("ann") == Look("", ("crew",))
    assert directory.questions == 1
    both = [directory.looks.look(name, 0) for name in ["bob"] * 50 + ["ann"] * 50]
    await asyncio.gather(*both)
    assert directory.questions <= 3


async def test_whoever_came_by_is_looked_at_again(directory, monkeypatch):
    monkeypatch.setattr(account_looks, "_EVERY_SECONDS", 0.05)
    seen = []
    directory.says(ann=["", ["crew"]], bob=["", ["crew"]])
    directory.looks.start(["ann"], lambda name, look: seen.append((name, look)))
    await until(lambda: seen)
    await directory.looks.look("bob")
    directory.says(ann=["", []], bob=["'bob' is locked.", []])
    await until(lambda: len(seen) == 4)
    assert seen[2:] == [("ann", Look("")), ("bob", Look("'bob' is locked."))]
    assert directory.looks.refused() == ["bob"]
    directory.says(ann=["", []], bob=["", []])
    await until(lambda: not directory.looks.refused())


@pytest.mark.parametrize("how", ["hang", "crash", "no JSON", "[]"])
async def test_a_directory_that_is_away_changes_nothing(directory, monkeypatch, how):
    monkeypatch.setattr(account_looks, "_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(account_looks, "_PATIENCE_SECONDS", 0.1)
    directory.says(ann=["", ["crew"]])
    await directory.looks.look("ann")
    directory.says_nothing(how)
    began = time.monotonic()
    assert await directory.looks.look("ann", 0) == Look("", ("crew",))
    assert time.monotonic() - began < 0.5
    assert await directory.looks.look("bob", 0) is None
    directory.says(ann=["", []])
    await until(lambda: not directory.looks._wanted)
    await directory.looks._ask("ann", keep=True)
    assert await directory.looks.look("ann", 0) == Look("")


async def test_an_action_that_fails_is_not_the_next_accounts_matter(directory):
    seen = []

    def act(name, look):
        seen.append(name)
        raise RuntimeError("the database is away")

    directory.says(ann=["", []], bob=["", []])
    directory.looks.start(["ann", "bob"], act)
    await until(lambda: len(seen) == 2)


async def test_names_that_somebody_types_are_asked_once(directory, monkeypatch):
    """A thousand names at the sign-in page are no work for the directory later."""
    monkeypatch.setattr(account_looks, "_EVERY_SECONDS", 0.05)
    directory.says(ann=["", []], root=["no person", []])
    directory.looks.start([])
    for name in ("ann", "root", "nobody-there"):
        await directory.looks.look(name, 0, keep=False)
    assert (await directory.looks.look("root", 0, keep=False)).fault
    asked = directory.questions
    await asyncio.sleep(0.3)  # some rounds
    assert directory.questions == asked
    assert directory.looks.refused() == []
    assert directory.looks._known == {}
    await directory.looks.look("ann")
    await until(lambda: directory.questions > asked + 3)


async def test_what_is_remembered_has_a_bound(directory, monkeypatch):
    monkeypatch.setattr(account_looks, "_MOST_KNOWN", 10)
    directory.says(**{f"u{n}": ["", []] for n in range(30)})
    for n in range(30):
        await directory.looks.look(f"u{n}")
    assert len(directory.looks._known) == 10


def test_guesses_cost_more_and_more_and_are_forgotten():
    clock = [0.0]
    throttle = Throttle(lambda: clock[0])
    waits = []
    for _ in range(12):
        while (wait := throttle.begin("ann", "a")) > 0:
            waits.append(wait)
            clock[0] += wait
    assert waits == [1, 2, 4, 8, 16, 32, 64]
    clock[0] += 1000
    assert throttle.begin("ann", "a") == 0


def test_strangers_do_not_keep_out_a_known_source():
    throttle = Throttle(lambda: 0.0)
    throttle.begin("ann", "home")
    throttle.succeeded("ann", "home")
    for n in range(20):
        assert throttle.begin("ann", f"bot{n}") == 0
    assert throttle.begin("ann", "bot-next") == 1
    assert throttle.begin("ann", "home") == 0
    assert throttle.begin("bob", "bot-next") == 0


def test_guesses_at_once_are_counted_when_they_begin():
    throttle = Throttle(lambda: 0.0)
    begun = [throttle.begin("ann", "a") for _ in range(1000)]
    assert begun.count(0) == 5


def test_a_flood_of_names_fills_no_memory(monkeypatch):
    monkeypatch.setattr("hub.auth.throttle._MOST_KNOWN", 100)
    throttle = Throttle(lambda: 0.0)
    for n in range(1000):
        throttle.begin(f"u{n}", f"s{n}")
        throttle.succeeded(f"u{n}", f"s{n}")
    assert len(throttle._tries) <= 100
    assert len(throttle._good) <= 100
