"""A whole Ceph of one process each: monitor, one store in memory, and the S3 gateway.

Only for tests, and only as root: the daemons want to own their files. cephx stays on,
because radosgw hangs without it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool")
ROLE = "landbridge"
BROKER = "root"
_START_SECONDS = 90


def missing_programs() -> list[str]:
    """Return which of Ceph's programs are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name)]


def free_port() -> int:
    """A port that no outgoing connection takes before the daemon gets there."""
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Ceph:
    """One private Ceph below ``root``, which must be short (it holds sockets)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.access_key = f"LB{secrets.token_hex(8).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.role_arn = f"arn:aws:iam:::role/{ROLE}"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def up(self) -> None:
        """Start it; return when its S3 gateway answers."""
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        monitor = free_port()
        self._configure(fsid, monitor)
        self._keys()
        self._tool(
            *("monmaptool", "--create", "--clobber", "--fsid", fsid),
            *("--addv", "a", f"[v2:127.0.0.1:{monitor}]", str(self.root / "monmap")),
        )
        keyring = str(self.root / "keyring")
        self._tool(
            *("ceph-mon", "--mkfs", "-i", "a", "--keyring", keyring),
            *("--monmap", str(self.root / "monmap")),
        )
        self._daemon("ceph-mon", "-f", "-i", "a")
        self._until("the monitor to answer", self._monitor_answers)
        self._ceph("auth", "import", "-i", keyring)
        self._ceph("osd", "new", osd, "0")
        self._tool("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._ceph(
            *("osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default")
        )
        self._daemon("ceph-osd", "-f", "-i", "0")
        self._until("the OSD to be up", self._osd_is_up)
        self._daemon("radosgw", "-f", "-n", "client.rgw")
        self._until("the S3 gateway to answer", self._answers)
        self._people()

    def down(self) -> None:
        """End what was started, in reverse."""
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)  # nothing in it is to be kept
            daemon.wait()
        self._daemons.clear()

    def admin(self, *arguments: str) -> str:
        """Run radosgw-admin and return its output."""
        return self._tool("radosgw-admin", "-n", "client.admin", *arguments)

    def _configure(self, fsid: str, monitor: int) -> None:
        root = self.root
        for name in ("run", "mon", "osd", "rgw"):
            (root / name).mkdir()
        text = f"""
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}]
public_network = 127.0.0.0/8
keyring = {root}/keyring
run_dir = {root}/run
admin_socket = {root}/run/$name.asok
pid_file = {root}/run/$name.pid
log_file = {root}/$name.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
osd_objectstore = memstore
memstore_device_bytes = 4294967296
ms_bind_port_min = 26800
ms_bind_port_max = 27300
[mon.a]
mon_data = {root}/mon
[osd.0]
osd_data = {root}/osd
[client.rgw]
rgw_data = {root}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{self.port}
rgw_s3_auth_use_sts = true
rgw_sts_key = {secrets.token_hex(8)}
"""
        (root / "ceph.conf").write_text(text)

    def _keys(self) -> None:
        keyring = str(self.root / "keyring")
        self._tool("ceph-authtool", "-C", keyring)
        for name, capabilities in {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            "client.rgw": {"mon": "allow rwx", "osd": "allow rwx"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
        }.items():
            flags = [
                word
                for part, allowed in capabilities.items()
                for word in ("--cap", part, allowed)
            ]
            self._tool("ceph-authtool", keyring, "--gen-key", "-n", name, *flags)

    def _people(self) -> None:
        self.admin(
            *("user", "create", f"--uid={BROKER}", "--display-name=broker"),
            *(f"--access-key={self.access_key}", f"--secret-key={self.secret_key}"),
            "--caps=users=*;user-policy=*;metadata=read;buckets=*;roles=*"
            ";oidc-provider=*",
        )
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam:::user/{BROKER}"]},
            "Action": ["sts:AssumeRole"],
        }
        # Or a session assumes the role again, without the policy that narrows it.
        no_chain = {
            "Effect": "Deny",
            "Principal": {"AWS": [self.role_arn]},
            "Action": ["sts:AssumeRole"],
        }
        allow = {
            "Effect": "Allow",
            "Action": ["s3:*"],
            "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"],
        }
        self.admin(
            *("role", "create", f"--role-name={ROLE}"),
            f"--assume-role-policy-doc={_policy(trust, no_chain)}",
        )
        self.admin(
            *("role-policy", "put", f"--role-name={ROLE}", "--policy-name=all-s3"),
            f"--policy-doc={_policy(allow)}",
        )

    def _monitor_answers(self) -> bool:
        command = self._command("ceph", "--connect-timeout", "10", "mon", "stat")
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.returncode == 0

    def _osd_is_up(self) -> bool:
        return '"num_up_osds":1' in self._ceph("-f", "json", "osd", "stat")

    def _answers(self) -> bool:
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            urllib.request.urlopen(self.endpoint, timeout=2).close()
            return True
        return False

    def _ceph(self, *arguments: str) -> str:
        return self._tool("ceph", "--connect-timeout", "30", *arguments)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [program, "-c", str(self.root / "ceph.conf"), *arguments]

    def _tool(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            self._command(program, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr[-2000:]}"
        return done.stdout

    def _daemon(self, program: str, *arguments: str) -> None:
        with (self.root / f"{program}.out").open("ab") as output:
            self._daemons.append(
                subprocess.Popen(
                    self._command(program, *arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    def _words(self, daemon: subprocess.Popen[bytes]) -> str:
        program = str(daemon.args[0])  # type: ignore[index]
        return (self.root / f"{program}.out").read_text(errors="replace")[-2000:]

    def _until(self, what: str, holds) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not holds():
            for daemon in self._daemons:
                assert daemon.poll() is None, f"{daemon.args}: {self._words(daemon)}"
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.2)


def _policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def ending_at(root: Path, token: str, end: datetime) -> str:
    """Return a session's token with another end, as the store itself seals them.

    It gives no session under 15 minutes. What it made is opened by its own key (AES in
    CBC, with the fixed first block of Ceph's own tickets), and only the end changes.
    """
    found = re.search(r"rgw_sts_key = (\w+)", (root / "ceph.conf").read_text())
    assert found is not None
    sealing = Cipher(algorithms.AES(found[1].encode()), modes.CBC(b"cephsageyudagreg"))
    opener, sealer = sealing.decryptor(), sealing.encryptor()
    text = opener.update(base64.b64decode(token)) + opener.finalize()
    # The end is the first stamp, the start the second.
    new = f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z".encode()
    text, count = re.subn(rb"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z", new, text, count=1)
    assert count == 1
    return base64.b64encode(sealer.update(text) + sealer.finalize()).decode()
