"""A gateway on which each user and each service has a host below ``hub.localhost``.

Chromium takes every name below ``localhost`` for this machine by itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rigs.browser.browser import Browser
from rigs.browser.gateway import PROFILES, write_settings
from rigs.hub.process import HubProcess
from rigs.slurm.cluster import Cluster

DOMAIN = "hub.localhost"
STORAGE = f"storage--service.{DOMAIN}"


@dataclass(frozen=True)
class Apart:
    """The gateway, and where who is."""

    hub: HubProcess
    scheme: str
    directory: Path

    def at(self, host: str) -> str:
        """The origin of a host."""
        return f"{self.scheme}://{host}:{self.hub.port}"

    @property
    def home(self) -> str:
        """The hub's origin."""
        return self.at(DOMAIN)

    def of(self, user: str) -> str:
        """The origin of a user's servers."""
        return self.at(f"{user}.{DOMAIN}")

    def ask(self, url: str) -> str:
        """Return what a program gets that is nobody here, led on as browsers are."""
        while True:
            parts = urlsplit(url)
            answer = self.hub.api.get(
                urlunsplit(("", "", parts.path, parts.query, "")),
                headers={"Host": parts.netloc, "Authorization": ""},
            )
            if not answer.is_redirect:
                assert answer.status_code == 200, answer.text
                return answer.text
            url = urljoin(url, answer.headers["Location"])

    def start(self, user: str) -> None:
        """Have a user's server run."""
        self.hub.start_server(user, options={"profile": "small"})
        self.hub.wait_state(user, "ready", seconds=120)


def make_certificate(directory: Path, *names: str) -> tuple[Path, Path]:
    """Make a certificate that nobody signed for these names, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "site.pem", directory / "site.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    return certificate, private


@contextmanager
def apart(slurm: Cluster, scheme: str) -> Iterator[Apart]:
    """Run such a gateway as root on a Slurm, where alice and bob have accounts."""
    directory = Path(tempfile.mkdtemp(prefix="lbapart-", dir="/var/tmp"))
    directory.chmod(0o755)
    more = f'[hub]\nsubdomains = "{DOMAIN}"\n'
    if scheme == "https":
        certificate, key = make_certificate(directory, DOMAIN, f"*.{DOMAIN}")
        more += f'[hub.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    settings = write_settings(directory, slurm.munge_socket, PROFILES, more)
    hub = HubProcess(
        directory / "state",
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        **slurm.environment,
    )
    hub.api.close()
    hub.api = httpx.Client(
        base_url=f"{scheme}://127.0.0.1:{hub.port}",
        headers=hub.api.headers,
        trust_env=False,
        timeout=30,
        verify=False,
    )
    try:
        hub.start()
        for user in ("alice", "bob"):
            hub.add_user(user)
        yield Apart(hub, scheme, directory)
    finally:
        hub.close()
        shutil.rmtree(directory)


def leave_everything(web: Browser) -> None:
    """Forget whom this browser knows, at every host."""
    web.close_others()
    web.driver.get("about:blank")
    cdp = web.driver.execute_cdp_cmd
    cdp("Network.clearBrowserCookies", {})
