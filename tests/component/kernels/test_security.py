"""Who gets at a kernel: whoever holds its keys, and nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.session import Session

from rigs.kernels.kernels import run, wait_until
from spawners.batch.models import BatchJob
from spawners.kernels.identity import new_identity
from spawners.kernels.rendezvous import Home, Proofs, bind

EVENTS = "import os; print(os.environ['LANDBRIDGE_EVENTS'])"
SECRETS = {
    "JUPYTERHUB_API_TOKEN": "canary-hub-token",
    "JPY_API_TOKEN": "canary-old-token",
    "JUPYTER_TOKEN": "canary-jupyter-token",
    "JUPYTERHUB_SSL_KEYFILE": "canary-key-file",
    "LANDBRIDGE_SECRET": "canary-own-secret",
    "SOMEBODYS_PASSWORD": "canary-password",
}


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def record_of(kernels) -> dict:
    (path,) = kernels.records
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    return json.loads(path.read_text())


def knock(record, context: ssl.SSLContext | None, words: bytes = b"ctl\n") -> bytes:
    """Say ``words`` to a launcher; return what it answers before it hangs up."""
    where = (record["far_address"], record["far_port"])
    with socket.create_connection(where, timeout=10) as plain:
        try:
            if context is None:
                plain.sendall(words)
                return plain.recv(4096)
            with context.wrap_socket(plain) as link:
                link.sendall(words)
                return link.recv(4096)
        except OSError:
            return b""


def test_the_servers_secrets_do_not_reach_the_kernel(kernels, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://store.example")
    name = kernels.spec("batch-env", env={"CHOSEN": "by the kernelspec"})
    manager = kernels.manager(name)
    # As a notebook server does it.
    manager.start_kernel(env={**os.environ, "JPY_SESSION_NAME": "/a.ipynb"})
    client = kernels.client(manager)
    client.wait_for_ready(timeout=20)
    seen = run(client, "import os; print(dict(os.environ))")
    job = run(client, "print(open(f'/proc/{os.getppid()}/environ').read())")
    assert "canary" not in seen
    assert "canary" not in job
    for passed in ("by the kernelspec", "/a.ipynb", "https://store.example"):
        assert passed in seen
    assert "canary" not in json.dumps(record_of(kernels))


def test_a_peer_without_the_certificate_is_refused(kernels):
    _, client = kernels.start()
    record = record_of(kernels)
    assert knock(record, None, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert knock(record, unverified()) == b""
    stranger = new_identity(record["name"])
    pem = kernels.path / "stranger.pem"
    pem.write_text(stranger.key + stranger.certificate)
    impostor = unverified()
    impostor.load_cert_chain(pem)
    for words in (b"ctl\n", b"shell\n", b"x" * 100):
        assert knock(record, impostor, words) == b""
    old = unverified()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert knock(record, old) == b""
    assert run(client, "print(1)") == "1"


def test_the_owner_is_known_by_the_certificate_and_odd_words_hurt_nobody(kernels):
    _, client = kernels.start()
    record = record_of(kernels)
    pem = kernels.path / "own.pem"
    pem.write_text(record["key"] + record["certificate"])
    own = unverified()
    own.load_cert_chain(pem)
    assert b'"hello"' in knock(record, own)  # a newer owner takes over
    assert knock(record, own, b"nothing\n") == b""
    assert knock(record, own, b"ctl\nnot json\n")[:1] in (b"{", b"")
    assert run(client, "print(1)") == "1"


def test_a_client_without_the_hmac_key_is_not_heard(kernels):
    manager, client = kernels.start()
    intruder = BlockingKernelClient()
    info = manager.get_connection_info()
    intruder.load_connection_info({**info, "key": b"guessed"})
    intruder.session = Session(key=b"guessed")
    kernels.clients.append(intruder)
    intruder.start_channels()
    intruder.execute("intruded = True")
    assert run(client, "print('intruded' in globals())") == "False"


def test_no_secret_is_in_a_command_a_script_or_a_log(kernels):
    manager, client = kernels.start()
    record = record_of(kernels)
    secrets = [
        record["connection"]["key"],
        record["key"].splitlines()[1],
        manager.session.key.decode(),
    ]
    script = run(
        client, "import os; print(open(f'/proc/{os.getppid()}/environ').read())"
    )
    listing = subprocess.run(
        ["ps", "axwwe"], capture_output=True, text=True, check=True
    ).stdout
    logs = "".join(p.read_text() for p in kernels.path.glob("state/logs/*"))
    queue = "".join(
        p.read_text(errors="replace")
        for p in kernels.path.glob("state/local/jobs/*/*")
        if p.is_file()
    )
    info = json.dumps(asyncio.run(manager.provisioner.get_provisioner_info()))
    shown = repr(manager.provisioner.status)
    for secret in secrets:
        for place in (script, listing, logs, queue, info, shown):
            assert secret not in place


# -- home ---------------------------------------------------------------------------


@pytest.fixture
async def home(tmp_path):
    """A home that waits for job 7 of the name ``lb-a``, with a token."""
    pair = new_identity("lb-a")
    pem = tmp_path / "home.pem"
    pem.write_text(pair.key + pair.certificate)

    async def job() -> BatchJob:
        return BatchJob("7", "lb-a", "ada")

    nodes = {"127.0.0.1"}

    async def from_job(address: str) -> bool:
        return address in nodes

    proofs = Proofs("lb-a", pair.fingerprint, None, "the-token", job, from_job)
    listener = bind("127.0.0.1", None)
    waiting = Home(proofs, {"key": "canary-private"})
    waiting.nodes, waiting.fingerprint = nodes, pair.fingerprint
    waiting.port = listener.getsockname()[1]
    await waiting.open(pem, listener)
    yield waiting
    waiting.close()


async def report(home, **said: object) -> str:
    """Report as a job would; return the answer."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", home.port, ssl=unverified()
    )
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert hashlib.sha256(shown).hexdigest() == home.fingerprint
    writer.write(json.dumps(said).encode() + b"\n")
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return answer.decode()


GOOD = {"name": "lb-a", "job": "7", "proof": "the-token", "host": "n1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "lb-b"},
        {"job": "8"},
        {"proof": "a-token"},
        {"proof": ""},
        {"proof": None},
        {"proof": ["the-token"]},
        {"name": {"lb-a": 1}},
    ],
)
async def test_an_impostor_learns_nothing(home, wrong):
    answer = await report(home, **{**GOOD, **wrong})
    assert "canary" not in answer
    assert not home.arrived.is_set()
    assert "canary-private" in await report(home, **GOOD)


async def test_the_right_token_from_another_node_is_refused(home):
    home.nodes.clear()
    assert "canary" not in await report(home, **GOOD)
    home.nodes.add("127.0.0.1")
    assert "canary-private" in await report(home, **GOOD)


@pytest.mark.parametrize("words", [b"\n", b"[]\n", b"{" * 9000, b"\xff\n", b"", b"1\n"])
async def test_garbage_is_dropped(home, words):
    _, writer = await asyncio.open_connection("127.0.0.1", home.port, ssl=unverified())
    writer.write(words)
    writer.close()
    assert "canary-private" in await report(home, **GOOD)


def test_a_job_whose_home_was_taken_over_says_nothing(kernels, tmp_path):
    """The launcher pins the certificate: a squatter on the port gets no proof."""
    from spawners.kernels.script import Facts, render_kernel_script

    pair, squatter = new_identity("lb-a"), new_identity("lb-a")
    pem = tmp_path / "squatter.pem"
    pem.write_text(squatter.key + squatter.certificate)
    listener = bind("127.0.0.1", None)
    listener.setblocking(True)
    listener.settimeout(20)
    facts = Facts(
        "lb-a",
        ("127.0.0.1",),
        listener.getsockname()[1],
        pair.fingerprint,
        "token",
        patience=1.0,
    )
    script = tmp_path / "job.sh"
    script.write_text(render_kernel_script(facts))
    job = subprocess.Popen(
        ["bash", str(script)],
        env={"PATH": os.environ["PATH"], "LANDBRIDGE_TOKEN": "canary"},
        stdout=subprocess.PIPE,
        text=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with listener:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as link:
            assert link.recv(4096) == b""
    out, _ = job.communicate(timeout=30)
    assert job.returncode == 1
    assert "Nobody answers for this kernel" in out
    assert "canary" not in out


@pytest.mark.root
def test_another_account_gets_nothing(kernels, people):
    _, client = kernels.start()
    record = record_of(kernels)
    kernels.path.chmod(0o755)
    far = run(
        client, "import os; print(os.path.dirname(os.environ['LANDBRIDGE_EVENTS']))"
    )
    places = [record["near"], far, str(Path(kernels.records[0]))]
    code = (
        "import os, socket, sys\n"
        "for place in sys.argv[1:]:\n"
        "    try: os.listdir(place) if os.path.isdir(place) else open(place).read()\n"
        "    except PermissionError: continue\n"
        "    except FileNotFoundError: continue\n"
        "    print('read', place)\n"
        "near, far = sys.argv[1:3]\n"
        "for path in (near + '/r-1', far + '/k1-1', far + '/events'):\n"
        "    try: socket.socket(socket.AF_UNIX).connect(path)\n"
        "    except PermissionError: continue\n"
        "    print('connected', path)\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, *places],
        user=people[1],
        group=people[1],
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout == ""
    wait_until(lambda: run(client, "print(2)") == "2")
