"""Who gets at a kernel: whoever holds its keys, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.session import Session

from rigs.kernels.kernels import run, wait_until
from spawners.batch.jobs.record import JobRecord
from spawners.common.files import write_whole
from spawners.kernels.context import context_for
from spawners.kernels.tunnel import begin

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


def record_of(kernels) -> JobRecord:
    (record,) = kernels.records
    return record


def opener(kernels, record: JobRecord) -> ssl.SSLContext:
    """Return what the owner of a job shows."""

    async def ask():
        return await (await context_for(kernels.settings).jobs()).credential(
            record.name
        )

    credential = begin(ask()).result(20)
    pem = kernels.path / "own.pem"
    write_whole(pem, credential.key + credential.certificate)
    own = unverified()
    own.load_cert_chain(pem)
    return own


def knock(record, context: ssl.SSLContext | None, words: bytes = b"ctl\n") -> bytes:
    """Say ``words`` to a launcher; return what it answers before it hangs up."""
    where = ("127.0.0.1", record.address.port)
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
    assert "canary" not in repr(record_of(kernels))


def test_a_peer_without_the_certificate_is_refused(kernels):
    _, client = kernels.start()
    record = record_of(kernels)
    assert knock(record, None, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert knock(record, unverified()) == b""
    kernels.start()
    (theirs,) = [one for one in kernels.records if one.name != record.name]
    impostor = opener(kernels, theirs)
    for words in (b"ctl\n", b"shell\n", b"x" * 100):
        assert knock(record, impostor, words) == b""
    old = unverified()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert knock(record, old) == b""
    assert run(client, "print(1)") == "1"


def test_the_owner_is_known_by_the_certificate_and_odd_words_hurt_nobody(kernels):
    _, client = kernels.start()
    record = record_of(kernels)
    own = opener(kernels, record)
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
    opened = manager.provisioner._job._credential
    secrets = [
        opened.key.splitlines()[1],
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


@pytest.mark.root
def test_another_account_gets_nothing(kernels, people):
    _, client = kernels.start()
    record = record_of(kernels)
    kernels.path.chmod(0o755)
    far = run(
        client, "import os; print(os.path.dirname(os.environ['LANDBRIDGE_EVENTS']))"
    )
    own = kernels.settings.jobs_directory
    assert {path.name for path in own.iterdir()} >= {"jobs.sqlite", "jobs-own.token"}
    places = [record.facts["near"], far, str(own), str(own / "jobs.sqlite")]
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
