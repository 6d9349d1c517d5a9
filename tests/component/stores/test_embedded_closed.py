"""What another account on the same machine can do to the embedded store: nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rigs.stores.sites import WeedRig
from services.storage.drivers.sts import StsDriver, StsSettings
from services.storage.s3.client import S3Client
from services.storage.s3.errors import StorageError
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import Grant, Mode
from services.storage.site import embedded, embedded_files, embedded_ports
from services.storage.site.embedded import EmbeddedStore, weed_program
from services.storage.site.embedded_files import EmbeddedSettings
from services.storage.site.embedded_ports import Ports

SECRET = b"the secret of the bucket, which is quite long" * 300

# Runs as bob with the system's own Python: every port, many requests.
INTRUDER = textwrap.dedent(
    """
    import http.client, json, sys
    ports, bucket, fids = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:]
    B = "/buckets/" + bucket
    requests = [
        ("GET", "/"), ("GET", B), ("GET", B + "/"), ("GET", B + "/secret"),
        ("GET", B + "/?limit=100"), ("GET", B + "/secret?metadata=true"),
        ("HEAD", B + "/secret"), ("PUT", B + "/secret"), ("POST", B + "/evil"),
        ("DELETE", B + "/secret"), ("DELETE", B + "?recursive=true"),
        ("DELETE", "/buckets?recursive=true"), ("DELETE", "/?recursive=true"),
        ("POST", B + "/?op=append"), ("POST", "/x?mv.from=" + B + "/secret"),
        ("POST", "/.tus/" + bucket), ("GET", "/etc/iam/identity.json"),
        ("GET", "/etc/iam/"), ("PUT", "/etc/iam/identity.json"),
        ("GET", "/col/delete?collection=" + bucket),
        ("POST", "/col/delete?collection=" + bucket),
        ("GET", "/dir/assign"), ("POST", "/dir/assign?collection=" + bucket),
        ("GET", "/dir/lookup?volumeId=1"), ("GET", "/dir/status"),
        ("GET", "/vol/grow?count=1&collection=" + bucket), ("GET", "/vol/status"),
        ("GET", "/vol/vacuum?garbageThreshold=0.0001"), ("POST", "/submit"),
        ("GET", "/cluster/status"), ("GET", "/cluster/healthz"),
        ("GET", "/admin/assign_volume?volume=99"), ("GET", "/stats/disk"),
        ("GET", "/admin/vacuum/check?volume=1"), ("GET", "/status"),
        ("GET", "/ui/index.html"), ("GET", "/debug/pprof/"), ("GET", "/metrics"),
        ("GET", "/api/config"), ("POST", "/api/users"), ("GET", "/object-store/users"),
        ("POST", "/?Action=CreateUser&UserName=bob&Version=2010-05-08"),
        ("POST", "/?Action=ListUsers&Version=2010-05-08"),
        ("GET", "/" + bucket), ("GET", "/" + bucket + "/secret"),
        ("PUT", "/" + bucket + "/secret"), ("DELETE", "/" + bucket + "/secret"),
        ("PUT", "/" + bucket + "?policy"), ("PUT", "/bobs-bucket"),
        ("GET", "/" + bucket + "?policy"), ("DELETE", "/" + bucket),
    ]
    for volume in range(1, 9):
        for fid in ("01", "0100000000", "01637037d6"):
            for method in ("GET", "DELETE", "PUT"):
                requests.append((method, "/%d,%s" % (volume, fid)))
    for fid in fids:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            requests.append((method, "/" + fid))
    told = []
    for port in ports:
        for method, path in requests:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                body = b"evil" if method in ("PUT", "POST") else None
                connection.request(method, path, body=body)
                answer = connection.getresponse()
                told.append([port, method, path, answer.status,
                             answer.read(65536).decode("latin-1")])
            except (OSError, http.client.HTTPException) as error:
                told.append([port, method, path, 0, type(error).__name__])
            finally:
                connection.close()
    print(json.dumps(told))
    """
)
# As bob: TLS to a gRPC port, with no certificate and with one of his own, and a call.
CALLER = textwrap.dedent(
    """
    import json, socket, ssl, sys
    told = []
    for port in json.loads(sys.argv[1]):
        for own in ("", sys.argv[2]):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            if own:
                context.load_cert_chain(own)
            heard = b""
            try:
                with socket.create_connection(("127.0.0.1", port), 10) as plain:
                    with context.wrap_socket(plain) as channel:
                        channel.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"
                                        + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                        heard = channel.recv(100)
                        reason = ""
            except OSError as error:
                reason = str(error)
            told.append([port, bool(own), heard.hex(), reason])
    print(json.dumps(told))
    """
)
# Pages of state: how full it is, and of which buckets; nothing of what is in them.
MAY_ANSWER = {
    *("/", "/status", "/stats/disk", "/ui/index.html", "/metrics"),
    *("/cluster/status", "/cluster/healthz", "/healthz"),
}


def needles(directory: Path, bucket: str) -> list[str]:
    """The addresses of the bucket's pieces, which an intruder would have to guess.

    From the volumes' index (id, offset / 8, size) and the cookie before each piece.
    """
    found = []
    for index in (directory / "data").rglob(f"{bucket}_*.idx"):
        volume = int(index.stem.rpartition("_")[2])
        entries, data = index.read_bytes(), index.with_suffix(".dat").read_bytes()
        for start in range(0, len(entries), 17):
            name, low, high, _ = struct.unpack(">QIBI", entries[start : start + 17])
            offset = low + (high << 32)
            cookie = data[offset * 8 : offset * 8 + 4].hex()
            found.append(f"{volume},{name:x}{cookie}")
    return found


def as_bob(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user="bob",
        group="bob",
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        stdin=subprocess.PIPE if "input" not in options else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.fixture
def ports(weed_rig: WeedRig) -> Ports:
    kept = weed_rig.settings.directory / "ports.json"
    return Ports.from_json(json.loads(kept.read_text()))


@pytest.fixture
async def treasure(weed):
    bucket = await weed.bucket("treasure")
    await weed.client.put(bucket, "secret", SECRET)
    before = {one.name for one in await weed.client.buckets.list()}
    yield bucket
    assert (await weed.client.get(bucket, "secret")).data == SECRET
    page = await weed.client.list(bucket)
    assert [item.key for item in page.objects] == ["secret"]
    assert await weed.client.buckets.policy(bucket) is None
    assert {one.name for one in await weed.client.buckets.list()} == before


@pytest.mark.root
async def test_no_port_gives_takes_or_destroys_anything(
    people, treasure, ports, weed_rig
):
    fids = needles(weed_rig.settings.directory, treasure)
    assert fids
    done = as_bob(
        [
            *("/usr/bin/python3", "-c", INTRUDER, json.dumps(ports.all()), treasure),
            *fids,
        ]
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 700
    for port, method, path, status, body in told:
        where = (port, method, path, status, body[:200])
        assert SECRET.decode()[:20] not in body, where
        assert '"auth"' not in body, where  # a token to write with
        if 200 <= status < 300:
            pages = port in {ports.volume, ports.master} or path == "/metrics"
            assert not body or pages, where
            assert path.partition("?")[0] in MAY_ANSWER, where
            assert "secret" not in body, where
    refused = {status for port, _, _, status, _ in told if port == ports.s3}
    assert 403 in refused  # it was there
    at_volume = {(p, s) for q, _, p, s, _ in told if q == ports.volume}
    assert {s for p, s in at_volume if p.removeprefix("/") in fids} == {401}


@pytest.mark.root
async def test_no_grpc_port_speaks_to_a_stranger(people, treasure, ports, shared):
    own = shared / "bob.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=filer"),
            *("-keyout", shared / "key.pem", "-out", shared / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    parts = [(shared / name).read_text() for name in ("cert.pem", "key.pem")]
    own.write_text("".join(parts))
    own.chmod(0o644)
    grpc = ports.all()[5:]
    assert [port - 10_000 for port in grpc] == list(ports.all()[:5])
    done = as_bob(["/usr/bin/python3", "-c", CALLER, json.dumps(grpc), str(own)])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 10
    for port, has_own, heard, reason in told:
        where = (port, has_own, heard, reason)
        assert heard == "", where
        # An alert with its reason, or the end of the connection.
        words = (
            "certificate required",
            "bad certificate",
            "unknown ca",
            "EOF",
            "reset",
        )
        assert any(word in reason for word in words), where


@pytest.mark.root
async def test_the_stores_own_shell_gets_no_answer(people, treasure, ports, shared):
    program = weed_program()
    if as_bob([program, "version"]).returncode != 0:
        program = shutil.copy(program, shared / "weed")
    for commands in ("s3.configure\n", f"lock\ns3.bucket.delete -name={treasure}\n"):
        done = as_bob(
            [
                *("/usr/bin/timeout", "8", program, "shell"),
                f"-master=127.0.0.1:{ports.master}",
                f"-filer=127.0.0.1:{ports.filer}",
            ],
            input=commands,
        )
        assert "identities" not in done.stdout
        assert "accessKey" not in done.stdout + done.stderr


@pytest.mark.root
async def test_the_sockets_and_files_are_closed(people, treasure, ports, weed_rig):
    directory = weed_rig.settings.directory
    # In a /tmp of the store's own, where bob does not even find them.
    shown = Path(f"/proc/{weed_rig.store.pid}/root")
    sockets = [Path(f"{shown}{path}") for path in ports.shared_sockets()]
    assert all(path.is_socket() for path in sockets)
    connect = (
        "import socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: socket.socket(socket.AF_UNIX).connect(path)\n"
        "    except OSError as error: print(type(error).__name__)\n"
        "    else: print('CONNECTED', path)\n"
    )
    names = ("s3.sock", f"s3-{ports.s3}.sock", "filer.sock")
    inside = [str(directory / "sock" / name) for name in names]
    assert all(Path(path).is_socket() for path in inside)
    done = as_bob(["/usr/bin/python3", "-c", connect, *map(str, sockets), *inside])
    assert done.returncode == 0, done.stderr
    assert "CONNECTED" not in done.stdout
    for name in ("s3.json", "iam.json", "security.toml", "certs/grpc.key", "sts.key"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600
        assert as_bob(["/bin/cat", str(directory / name)]).returncode != 0
    assert as_bob(["/bin/ls", str(directory)]).returncode != 0


def test_no_secret_is_in_the_command_line(weed_rig):
    process = Path(f"/proc/{weed_rig.store.pid}")
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert weed_rig.access.key.secret_key.encode() not in shown
    assert os.fsencode(sys.executable) not in shown


async def test_a_closed_port_answers_only_to_a_certificate_of_ours(monkeypatch):
    """Where others could bind it: no S3, no IAM, to nobody, whatever keys he has."""
    for module in (embedded, embedded_files, embedded_ports):
        monkeypatch.setattr(module, "protected_ports", lambda: range(0))
    with tempfile.TemporaryDirectory(prefix="lbweed-", dir="/var/tmp") as name:
        settings = EmbeddedSettings(Path(name) / "store", closed=True)
        store = EmbeddedStore(settings)
        access = await store.start()
        try:
            assert urlsplit(access.endpoint).port >= 1024
            for url in (access.endpoint, access.endpoint.replace("http:", "https:")):
                client = S3Client(StoreAddress(url, attempts=1), access.key)
                with pytest.raises(StorageError):
                    await client.buckets.list()
                await client.close()
            # The session's keys get nothing there, and all by the socket.
            address = StoreAddress(access.endpoint, socket=access.socket)
            client = S3Client(address, access.key)
            await client.buckets.create("alice")
            driver = StsDriver(client, StsSettings(access.role_arn))
            grant = Grant("alice", "", Mode.READ_WRITE)
            key = (await driver.issue("alice", [grant])).key
            session = S3Client(address, key)
            await session.put("alice", "x", b"y")
            await session.close()
            await client.close()
        finally:
            await store.stop()
