"""The life of the embedded store: made once, adopted, started again, ended."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.storage.s3.client import S3Client
from services.storage.s3.errors import StorageError, StoreUnavailable
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site import embedded_account
from services.storage.site.embedded import EmbeddedStore, try_store, weed_program
from services.storage.site.embedded_account import store_account
from services.storage.site.embedded_files import (
    EmbeddedSettings,
    hand_over,
    link_socket,
    prepare,
)
from services.storage.site.embedded_ports import Ports, choose_ports, kept_ports
from spawners.common.processes import ProcessId


@pytest.fixture
def settings():
    # Sockets have short names, and another account may have to enter.
    directory = Path(tempfile.mkdtemp(prefix="lbweed-", dir="/var/tmp"))
    yield EmbeddedSettings(directory / "store")
    shutil.rmtree(directory)


async def back(store: EmbeddedStore, old: int | None) -> None:
    async with asyncio.timeout(60):
        while store.pid == old or not store.up.is_set():
            await asyncio.sleep(0.05)


async def test_a_store_is_adopted_and_what_was_written_is_there(settings):
    first = EmbeddedStore(settings)
    access = await first.start()
    await first.close()
    second = EmbeddedStore(settings)
    try:
        again = await second.start()
        assert second.pid == first.pid
        assert again == access
    finally:
        await second.stop()
    assert ProcessId.of(first.pid or 0) is None


async def test_other_settings_start_it_anew_with_the_same_keys(settings):
    first = EmbeddedStore(settings)
    access = await first.start()
    await first.close()
    other = EmbeddedSettings(
        settings.directory, allowed_origins=("https://gateway.example",)
    )
    second = EmbeddedStore(other)
    try:
        again = await second.start()
        assert second.pid != first.pid
        assert again.key == access.key
        assert again.endpoint == access.endpoint
    finally:
        await second.stop()


async def test_a_killed_store_comes_back_with_every_acknowledged_object(settings):
    # So deep that the path of its socket is longer than the kernel takes.
    store = EmbeddedStore(EmbeddedSettings(settings.directory / ("deep" * 25)))
    access = await store.start()
    client = S3Client(StoreAddress(access.endpoint, socket=access.socket), access.key)
    try:
        await client.buckets.create("bucket")
        written: list[str] = []

        async def write(writer: int) -> None:
            number = 0
            while True:
                key = f"{writer}/{number}"
                await client.put("bucket", key, key.encode())
                written.append(key)
                number += 1

        writers = [asyncio.create_task(write(number)) for number in range(4)]
        async with asyncio.timeout(60):
            while len(written) < 200:
                await asyncio.sleep(0.01)
        old = store.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        await back(store, old)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for key in written:
            assert (await client.get("bucket", key)).data == key.encode()
    finally:
        await client.close()
        await store.stop()


@pytest.mark.root
async def test_as_root_it_runs_as_the_account_that_was_chosen(people, settings):
    settings.directory.parent.chmod(0o755)
    alice = pwd.getpwnam("alice")
    store = EmbeddedStore(EmbeddedSettings(settings.directory, account="alice"))
    access = await store.start()
    try:
        status = Path(f"/proc/{store.pid}/status").read_text()
        assert f"Uid:\t{alice.pw_uid}\t{alice.pw_uid}\t" in status
        assert f"Gid:\t{alice.pw_gid}\t{alice.pw_gid}\t" in status
        assert "Groups:\t \n" in status
        # Of root's rights it keeps the one for its port.
        low = 1 << 10 if port_of(access.endpoint) < 1024 else 0
        assert f"CapEff:\t{low:016x}\n" in status
        assert low == 1 << 10
        assert f"CapBnd:\t{low:016x}\n" in status
        facts = {
            name: (path := settings.directory / name).stat().st_uid
            or path.stat().st_mode & 0o077
            for name in ("", "certs", "data", "sock", "sts.key", "weed.log", "s3.json")
        }
        assert facts == {
            # Ours, and nobody lists them or puts anything in them.
            **{"": 0o011, "certs": 0o011, "sts.key": 0, "weed.log": 0},
            **dict.fromkeys(("data", "sock", "s3.json"), alice.pw_uid),
        }
        modes = {name: (settings.directory / name).stat().st_mode for name in facts}
        assert all(modes[n] & 0o077 == 0 for n in facts if n not in ("", "certs"))
    finally:
        await store.stop()


@pytest.mark.root
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
async def test_a_store_of_roots_is_handed_over_with_its_objects(
    people, settings, running
):
    """As by an upgrade, whose store may still run; and back, and over again."""
    settings.directory.parent.chmod(0o755)
    stores = []
    for turn, account in enumerate((None, "alice", None, "alice", "bob")):
        store = EmbeddedStore(EmbeddedSettings(settings.directory, account=account))
        access = await store.start()
        client = S3Client(StoreAddress(access.endpoint), access.key)
        try:
            if turn == 0:
                await client.buckets.create("kept")
            await client.put("kept", str(turn), str(turn).encode() * 100_000)
            for old in range(turn + 1):
                data = (await client.get("kept", str(old))).data
                assert data == str(old).encode() * 100_000
        finally:
            await client.close()
            await (store.close() if running else store.stop())
            stores.append(store)
        uid = pwd.getpwnam(account or "root").pw_uid
        data = settings.directory / "data"
        assert data.stat().st_uid == uid
        if account is not None:
            assert {path.stat().st_uid for path in data.rglob("*")} == {uid}
    for store in stores:
        await store.stop()


@pytest.mark.root
async def test_its_account_reaches_no_other_secret(people, settings, tmp_path):
    settings.directory.parent.chmod(0o755)
    closed = EmbeddedSettings(settings.directory, account="alice")
    prepare(closed)
    hand_over(closed)
    secrets = settings.directory.parent / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "cookie-secret").write_text("x")
    for what in ("test -r", "test -w"):
        for path in (secrets / "cookie-secret", settings.directory / "sts.key"):
            done = as_account("alice", [*what.split(), str(path)])
            assert done.returncode == 1, (what, path)
    done = as_account("alice", ["test", "-w", str(settings.directory)])
    assert done.returncode == 1


@pytest.mark.root
async def test_an_account_of_its_own_is_the_default(settings, monkeypatch):
    """A system account without a shell, made once; else root, and that is said."""
    settings.directory.parent.chmod(0o755)
    program = weed_program()
    if as_account("nobody", [program, "version"]).returncode != 0:
        program = "true"  # this checkout is closed to others
    name = store_account("", settings.directory, program)
    assert name == embedded_account.OWN_ACCOUNT
    made = pwd.getpwnam(name)
    assert 0 < made.pw_uid < 1000
    assert made.pw_shell.endswith("nologin")
    assert store_account("", settings.directory, program) == name
    assert store_account("root", settings.directory, program) is None
    with pytest.raises(StoreUnavailable, match="no such account"):
        store_account("nobody-of-that-name", settings.directory, program)
    with pytest.raises(StoreUnavailable, match="root by another name"):
        embedded_account.ROOT = ""
        try:
            store_account("root", settings.directory, program)
        finally:
            embedded_account.ROOT = "root"
    settings.directory.parent.chmod(0o700)
    with pytest.raises(StoreUnavailable, match="cannot reach"):
        store_account(name, settings.directory, program)
    assert store_account("", settings.directory, program) is None


def as_account(name: str, command: list[str]) -> subprocess.CompletedProcess[bytes]:
    account = pwd.getpwnam(name)
    return subprocess.run(
        command,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


async def test_a_store_that_cannot_start_says_its_last_words(settings, monkeypatch):
    prepare(settings)
    (settings.directory / "s3.json").write_text('{"identities": [{"credentials": [{}]')
    store = EmbeddedStore(settings)
    with pytest.raises((StoreUnavailable, ValueError)):
        await store.start()
    assert store.pid is None


async def test_a_wrong_key_is_not_ready(weed_rig):
    wrong = replace(weed_rig.access, key=AccessKey("wrong", "wrong"))
    with pytest.raises(StorageError):
        await try_store(wrong)


def test_secrets_are_made_once(settings):
    key = prepare(settings)
    kept = {
        path: path.read_bytes()
        for path in settings.directory.rglob("*")
        if path.is_file()
    }
    assert prepare(settings) == key
    assert {path: path.read_bytes() for path in kept} == kept
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    assert settings.directory.stat().st_mode & 0o777 == 0o700


def test_ports_stay_and_move_when_one_is_taken(settings):
    settings.directory.mkdir(mode=0o700)
    ports = choose_ports(settings.directory)
    assert choose_ports(settings.directory) == ports
    assert len(set(ports.all())) == 10
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.filer + 10_000))
        taken.listen(1)
        assert choose_ports(settings.directory) != ports
        assert kept_ports(settings.directory) != ports


def test_a_socket_speaks_for_the_port_in_its_name_only(settings):
    """What was left by a store at another port is forgotten."""
    prepare(settings)
    sockets = settings.directory / "sock"
    for ports in (choose_ports(settings.directory), Ports(1, 2, 3, 4, 5)):
        link_socket(settings.directory, ports)
        assert [path.name for path in sockets.iterdir()] == ["s3.sock"]
        assert (sockets / "s3.sock").readlink() == Path(f"s3-{ports.s3}.sock")
        (sockets / f"s3-{ports.s3}.sock").touch()
