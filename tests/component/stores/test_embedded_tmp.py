"""Another account is at the paths in ``/tmp`` where SeaweedFS makes its sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from services.storage.s3.errors import StoreUnavailable
from services.storage.site import embedded, embedded_ports, private_tmp
from services.storage.site.embedded import EmbeddedStore
from services.storage.site.embedded_files import EmbeddedSettings
from services.storage.site.embedded_ports import Ports, choose_ports, kept_ports

pytestmark = pytest.mark.root

SQUATTER = textwrap.dedent(
    """
    import os, socket, sys
    os.umask(0)
    listening = []
    for path in sys.argv[1:]:
        one = socket.socket(socket.AF_UNIX)
        one.bind(path)
        one.listen(100)
        one.setblocking(False)
        listening.append(one)
    print("bound", flush=True)
    sys.stdin.readline()
    callers = 0
    for one in listening:
        try:
            while one.accept():
                callers += 1
        except BlockingIOError:
            pass
        os.unlink(one.getsockname())
    print(callers, flush=True)
    """
)


@pytest.fixture
def settings(people) -> Iterator[EmbeddedSettings]:
    directory = Path(tempfile.mkdtemp(prefix="lbweed-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield EmbeddedSettings(directory / "store", account="alice")
    shutil.rmtree(directory)


@pytest.fixture
def shared_tmp(monkeypatch) -> None:
    """As where the kernel gives the store no ``/tmp`` of its own."""
    monkeypatch.setattr(embedded, "why_not", lambda *_: "not here")


@contextlib.contextmanager
def squatting(paths: tuple[Path, ...]) -> Iterator[subprocess.Popen[str]]:
    """bob listens at ``paths``; told to end, he says how many called."""
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", SQUATTER, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user="bob",
        group="bob",
        extra_groups=[],
        cwd="/",
    ) as squatter:
        try:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == "bound\n"
            yield squatter
        finally:
            squatter.kill()
            for path in paths:
                path.unlink(missing_ok=True)


def callers(squatter: subprocess.Popen[str]) -> int:
    return int(squatter.communicate("\n", timeout=30)[0])


def free_ports(settings: EmbeddedSettings) -> Ports:
    """Ports that the store will want, and nothing at their paths yet."""
    settings.directory.mkdir(mode=0o700)
    ports = choose_ports(settings.directory, pwd.getpwnam("alice").pw_uid)
    for path in ports.shared_sockets():
        path.unlink()
    return ports


async def killed_and_back(store: EmbeddedStore) -> None:
    old = store.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    async with asyncio.timeout(100):
        while store.pid == old or not store.up.is_set():
            await asyncio.sleep(0.05)


async def test_a_squatter_is_not_in_the_way_of_a_store_with_its_own_tmp(settings):
    """He is there before it starts, and when it is started again."""
    ports = free_ports(settings)
    store = EmbeddedStore(settings)
    with squatting(ports.shared_sockets()) as bob:
        try:
            await store.start()
            assert kept_ports(settings.directory) == ports
            await killed_and_back(store)
            assert kept_ports(settings.directory) == ports
            inside = Path(f"/proc/{store.pid}/root/tmp")
            names = {path.name for path in ports.shared_sockets()}
            assert {path.name for path in inside.iterdir()} <= names
            assert (inside / ports.shared_sockets()[0].name).is_socket()
            assert inside.stat().st_mode & 0o777 == 0o700
        finally:
            await store.stop()
        assert callers(bob) == 0


async def test_a_store_that_lies_below_tmp_sees_itself_there(people, settings):
    with tempfile.TemporaryDirectory(prefix="lbweed-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        # A link, as of a state directory that was moved.
        link = settings.directory.parent / "linked"
        link.symlink_to(name)
        settings = EmbeddedSettings(link / "store", account="alice")
        store = EmbeddedStore(settings)
        try:
            await store.start()
            inside = Path(f"/proc/{store.pid}/root/tmp")
            assert (inside / Path(name).name / "store" / "data").is_dir()
            others = {path.name for path in inside.iterdir()} - {Path(name).name}
            sockets = kept_ports(settings.directory).shared_sockets()
            assert others <= {path.name for path in sockets}
            assert (inside / sockets[0].name).is_socket()
        finally:
            await store.stop()


@pytest.mark.usefixtures("shared_tmp")
async def test_with_the_tmp_of_all_it_goes_where_nobody_is(settings):
    """bob has two paths, a store that was root's has left one: those parts move."""
    before = free_ports(settings)
    paths = dict(zip(asdict(before), before.shared_sockets(), strict=True))
    paths["master"].touch()
    store = EmbeddedStore(settings)
    with squatting((paths["filer"], paths["volume"])) as bob:
        try:
            await store.start()
            after = kept_ports(settings.directory)
            assert moved(before, after) == {"master", "volume", "filer"}
            sockets = after.shared_sockets()
            alice = pwd.getpwnam("alice").pw_uid
            assert {path.lstat().st_uid for path in sockets} == {alice}
            # What it left itself is not in its way.
            await killed_and_back(store)
            assert kept_ports(settings.directory) == after
        finally:
            await store.stop()
            paths["master"].unlink()
        assert callers(bob) == 0


@pytest.mark.usefixtures("shared_tmp")
async def test_who_gets_between_is_seen_and_the_store_starts_elsewhere(
    settings, monkeypatch
):
    """Between SeaweedFS's own unlink and bind, which takes root to do in a test."""
    store = EmbeddedStore(settings)
    stolen: list[Path] = []

    def rob(directory: Path, owner: int | None = None) -> Ports:
        ports = choose_ports(directory, owner)
        if not stolen:
            stolen.append(ports.shared_sockets()[2])
            stolen[0].unlink()
            stolen[0].mkdir()
            os.chown(stolen[0], pwd.getpwnam("bob").pw_uid, -1)
        return ports

    try:
        await store.start()
        before = kept_ports(settings.directory)
        monkeypatch.setattr(embedded, "choose_ports", rob)
        await killed_and_back(store)
        assert moved(before, kept_ports(settings.directory)) == {"filer"}
    finally:
        await store.stop()
        stolen[0].rmdir()


def moved(before: Ports, after: Ports) -> set[str]:
    was = before.as_json()
    return {part for part, port in after.as_json().items() if port != was[part]}


def test_if_every_path_is_taken_that_is_said(settings, monkeypatch):
    monkeypatch.setattr(embedded_ports, "_HIGH", range(21_900, 21_990))
    monkeypatch.setattr(embedded_ports, "protected_ports", lambda: range(0))
    everywhere = [Ports(*[port] * 5) for port in embedded_ports._HIGH]
    paths = [ports.shared_sockets()[4] for ports in everywhere]
    taken = [path for path in paths if not path.exists()]
    nobody = pwd.getpwnam("nobody").pw_uid  # whose socket none of them is
    with (
        squatting(tuple(taken)),
        pytest.raises(StoreUnavailable, match="store's admin") as caught,
    ):
        choose_ports(settings.directory, nobody)
    assert "seaweedfs-admin-grpc-*.sock" in caught.value.hint


def test_an_ordinary_account_has_a_tmp_of_its_own(people, shared):
    """By a user namespace, in which nothing but its own is to be had."""
    script = shared / "private_tmp.py"
    shutil.copy(private_tmp.__file__, script)
    bob = pwd.getpwnam("bob")
    marks = (Path("/tmp/lb-mark-of-bob"), Path("/tmp/lb-mark-of-root"))
    look = (
        "grep CapEff /proc/self/status; id -u; ls -A /tmp; touch /tmp/lb-mark-of-bob;"
        " pwd; kill -0 1 2>/dev/null || echo cannot"
    )
    marks[1].touch()
    try:
        done = subprocess.run(
            [
                *("/usr/bin/python3", "-I", "-S", script, str(bob.pw_uid)),
                *(str(bob.pw_gid), "--", "/bin/sh", "-c", look),
            ],
            user="bob",
            group="bob",
            extra_groups=[],
            cwd="/var",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        capabilities, *rest = done.stdout.splitlines()
        assert capabilities.split() == ["CapEff:", "0" * 16]
        assert rest == [str(bob.pw_uid), "/var", "cannot"]
        assert not marks[0].exists()
    finally:
        marks[1].unlink()


def test_where_it_cannot_be_the_reason_is_told(people):
    alice = pwd.getpwnam("alice")
    private = private_tmp.with_private_tmp(alice.pw_uid, alice.pw_gid, [])
    directory = Path("/var")
    assert private_tmp.why_not([*private, "/bin/true"], directory) == ""
    assert "No such file" in private_tmp.why_not([*private, "/no/program"], directory)
    assert private_tmp.why_not(["/bin/false"], directory) == "status 1"
    without = ["setpriv", "--bounding-set=-sys_admin", "--", *private, "/bin/true"]
    fault = private_tmp.why_not(without, directory)
    assert fault == "no /tmp of its own: [Errno 1] unshare: Operation not permitted"
