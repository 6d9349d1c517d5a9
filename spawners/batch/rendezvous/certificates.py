"""Two certificate authorities and what they sign.

* The **hub CA** signs the certificate of the frontend that jobs call
  (``hub.landbridge.internal``) and the client certificates that the proxy, the hub
  and the jobs service show to notebook servers, one each.
* The **jobs CA** signs server certificates of jobs, ``<job>.landbridge.internal``,
  and client certificates of the same name for whoever owns such a job and is to be let
  in there (a kernel's notebook server). A certificate that a job holds opens no other
  job's server: it is no client's, and that name is nobody else's.

For the jobs service, which alone has the authorities' keys::

    pki = ensure_hub_pki(state / "pki", names=["hub.example.org", "10.0.0.1"])
    pki.edge_pem        # HAProxy: bind ... ssl crt EDGE_PEM          (jobs frontend)
    pki.client_pem      # HAProxy: server ... ssl crt CLIENT_PEM
    pki.jobs_ca_file    # HAProxy: server ... ca-file JOBS_CA verify required
    pki.client.context()                                # its own look at job servers
    pki.hub_ca.certificate                              # public, goes to jobs
    pki.jobs_ca.issue_server("<job>.landbridge.internal")      # at every fetch

For the hub, which reads what the jobs service made::

    hub_client(state / "pki").context()

``names`` must hold every host or address that jobs use in ``JUPYTERHUB_API_URL``:
JupyterHub checks it against the certificate. Call it at every start of the service:
what is missing is made, what ends soon is renewed, the rest stays as it is. A CA
is renewed with the same key and name, so jobs that hold the older one still agree.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spawners.common.files import write_whole
from spawners.common.ownership import NotOurs, check_below, own_directory, read_own

from ..errors import AuthenticationBroken

DOMAIN = "landbridge.internal"
HUB_NAME = f"hub.{DOMAIN}"

_JOBS_CA = "jobs-ca"
_HUB_CLIENT = "hub-client"
_CA_LIFE = timedelta(days=3650)
_CA_RENEWAL = timedelta(days=1095)  # well over the longest job plus its leaf
_LEAF_LIFE = timedelta(days=365)
_LEAF_RENEWAL = timedelta(days=90)
_SKEW = timedelta(hours=1)  # clocks of nodes may be behind


def job_host(name: str) -> str:
    """Return the host name in the certificate of the job called ``name``."""
    return f"{name}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its certificate.

    Attributes:
        key: PEM (PKCS 8, not encrypted).
        certificate: PEM.
        fingerprint: SHA-256 of the certificate, 64 lower-case hex digits.
    """

    key: str = field(repr=False)
    certificate: str = field(repr=False)
    fingerprint: str


class CertificateAuthority:
    """A key and certificate that sign others. Keys are EC P-256.

    Attributes:
        certificate: its own certificate, PEM. Public.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate) -> None:
        self._key = key
        self._cert = cert
        self.certificate = _pem(cert)

    def issue_server(self, name: str, *, lifetime: timedelta = _LEAF_LIFE) -> KeyPair:
        """Make a key and a certificate that can only serve as ``name``.

        ``lifetime`` counts from now and is cut where the authority itself ends.
        """
        return self._issue([name], ExtendedKeyUsageOID.SERVER_AUTH, lifetime)

    def issue_client(self, name: str, *, lifetime: timedelta = _LEAF_LIFE) -> KeyPair:
        """Make a key and a certificate by which to be let in by ``name``'s server.

        ``lifetime`` is as in :meth:`issue_server`.
        """
        return self._issue([name], ExtendedKeyUsageOID.CLIENT_AUTH, lifetime)

    def _issue(
        self, names: Sequence[str], usage: x509.ObjectIdentifier, lifetime: timedelta
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        authority_key = self._key.public_key()
        # A common name holds 64 characters at most; clients look at the SAN only.
        cert = (
            _builder(_name(names[0][:64]), self._cert.subject, key, now)
            .not_valid_after(min(now + lifetime, self._cert.not_valid_after_utc))
            .add_extension(
                x509.BasicConstraints(ca=False, path_length=None), critical=True
            )
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(_key_pem(key), _pem(cert), cert.fingerprint(_SHA256).hex())

    def signed(self, cert: x509.Certificate) -> bool:
        """Return whether this authority's key signed ``cert``."""
        try:
            cert.verify_directly_issued_by(self._cert)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


@dataclass(frozen=True, slots=True)
class JobClient:
    """Who asks job servers: it believes theirs alone, and proves to be the gateway's.

    Attributes:
        jobs_ca_file: the certificate of the jobs CA.
        certificate, key: what is shown to the servers.
    """

    jobs_ca_file: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return what to connect with.

        Raises:
            OSError: a file is not there or cannot be read.
        """
        context = ssl.create_default_context(cafile=str(self.jobs_ca_file))
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


def hub_client(directory: Path) -> JobClient:
    """Return the hub's way to job servers; the jobs service makes its files.

    Args:
        directory: of the certificates.
    """
    return JobClient(
        directory / f"{_JOBS_CA}.crt",
        directory / f"{_HUB_CLIENT}.crt",
        directory / f"{_HUB_CLIENT}.key",
    )


@dataclass(frozen=True, slots=True)
class EdgeFiles:
    """What the edge proves itself with to jobs, and knows their servers by.

    Attributes:
        server: certificate and key of the frontend that jobs call.
        client: certificate and key that job servers are shown.
        jobs_ca: the certificate of the jobs CA.
    """

    server: Path
    client: Path
    jobs_ca: Path

    @property
    def missing(self) -> list[Path]:
        """Those that the jobs service has not made yet."""
        return [
            file
            for file in (self.server, self.client, self.jobs_ca)
            if not file.exists()
        ]


def edge_files(directory: Path) -> EdgeFiles:
    """Return the edge's certificates; the jobs service makes them.

    Args:
        directory: of the certificates.
    """
    return EdgeFiles(
        directory / "edge.pem", directory / "client.pem", directory / f"{_JOBS_CA}.crt"
    )


@dataclass(frozen=True, slots=True)
class HubPki:
    """All certificates of a gateway. See the module's docstring.

    Attributes:
        hub_ca, jobs_ca: the two authorities.
        hub_ca_file, jobs_ca_file: their certificates as PEM files.
        edge_pem, client_pem: certificate followed by its key, as HAProxy wants.
        client: the jobs service's own way to job servers.
    """

    hub_ca: CertificateAuthority
    jobs_ca: CertificateAuthority
    hub_ca_file: Path
    jobs_ca_file: Path
    edge_pem: Path
    client_pem: Path
    client: JobClient


def ensure_hub_pki(directory: Path, *, names: Iterable[str] = ()) -> HubPki:
    """Make or renew all certificates below ``directory`` (0700) and return them.

    Args:
        directory: made if missing; only its owner may enter it.
        names: further host names and addresses of the frontend that jobs call.

    Raises:
        AuthenticationBroken: a file is there and cannot be used, or others can
            read a key.
    """
    try:
        own_directory(directory)
        check_below(directory)
    except NotOurs as error:
        raise AuthenticationBroken(str(error)) from None
    with _locked(directory / "lock"):
        hub_ca = _ensure_authority(directory / "hub-ca", "Landbridge hub CA")
        jobs_ca = _ensure_authority(directory / _JOBS_CA, "Landbridge jobs CA")
        edge_names = [HUB_NAME, *sorted({n for n in names if n} - {HUB_NAME})]
        edge, client = directory / "edge.pem", directory / "client.pem"
        _ensure_leaf(edge, hub_ca, edge_names, ExtendedKeyUsageOID.SERVER_AUTH)
        _ensure_client(client, hub_ca, "proxy")
        _ensure_client(directory / f"{_HUB_CLIENT}.pem", hub_ca, _HUB_CLIENT)
        own = _ensure_client(directory / "jobs-client.pem", hub_ca, "jobs-client")
    return HubPki(
        hub_ca=hub_ca,
        jobs_ca=jobs_ca,
        hub_ca_file=directory / "hub-ca.crt",
        jobs_ca_file=directory / f"{_JOBS_CA}.crt",
        edge_pem=edge,
        client_pem=client,
        client=JobClient(directory / f"{_JOBS_CA}.crt", *own),
    )


def _ensure_client(
    path: Path, authority: CertificateAuthority, name: str
) -> tuple[Path, Path]:
    """Have a client's certificate with its key at ``path``; return it in two files."""
    _ensure_leaf(path, authority, [f"{name}.{DOMAIN}"], ExtendedKeyUsageOID.CLIENT_AUTH)
    certificate, key_file = path.with_suffix(".crt"), path.with_suffix(".key")
    _write(certificate, _pem(_load_certificate(path)), 0o644)
    _write(key_file, _key_pem(_load_key(path)), 0o600)
    return certificate, key_file


def _ensure_authority(path: Path, title: str) -> CertificateAuthority:
    key_file, cert_file = path.with_suffix(".key"), path.with_suffix(".crt")
    if key_file.exists():
        key = _load_key(key_file)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        _write(key_file, _key_pem(key), 0o600)
    cert = _load_certificate(cert_file) if cert_file.exists() else None
    if cert is not None and cert.public_key() != key.public_key():
        raise AuthenticationBroken(
            f"{cert_file} does not belong to {key_file.name}.",
            hint="Restore both from a backup, or remove both to make new ones.",
        )
    if cert is None or _ends_within(cert, _CA_RENEWAL):
        cert = _self_signed(key, title)
        _write(cert_file, _pem(cert), 0o644)
    return CertificateAuthority(key, cert)


def _self_signed(key: ec.EllipticCurvePrivateKey, title: str) -> x509.Certificate:
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(_name(title), _name(title), key, now)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _ensure_leaf(
    path: Path,
    authority: CertificateAuthority,
    names: Sequence[str],
    usage: x509.ObjectIdentifier,
) -> None:
    if path.exists():
        cert = _load_certificate(path)
        current = authority.signed(cert) and not _ends_within(cert, _LEAF_RENEWAL)
        if current and _names_of(cert) == {_general_name(name) for name in names}:
            return
    pair = authority._issue(names, usage, _LEAF_LIFE)
    _write(path, pair.certificate + pair.key, 0o600)


def _names_of(cert: x509.Certificate) -> set[x509.GeneralName]:
    return set(cert.extensions.get_extension_for_class(_SAN).value)


def _ends_within(cert: x509.Certificate, period: timedelta) -> bool:
    return cert.not_valid_after_utc - datetime.now(UTC) < period


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .add_extension(identifier, critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(cert: x509.Certificate) -> str:
    return cert.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode("ascii")


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise AuthenticationBroken(
            f"{path} holds no usable private key.", hint="Restore it from a backup."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthenticationBroken(f"{path} holds a key that is not an EC key.")
    return key


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path, private=False))
    except ValueError as error:
        raise AuthenticationBroken(
            f"{path} holds no usable certificate.",
            hint="Remove it: it is made again at the next start.",
        ) from error


def _read(path: Path, *, private: bool = True) -> bytes:
    try:
        return read_own(path, private=private)
    except NotOurs as error:
        raise AuthenticationBroken(
            str(error), hint="Who had it can pose as the gateway."
        ) from None


def _write(path: Path, text: str, mode: int) -> None:
    """Put ``text`` at ``path`` whole or not at all; unchanged text is left alone."""
    if path.exists() and path.read_text("ascii") == text:
        return
    write_whole(path, text, mode=mode)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes: two hubs starting at once make one CA."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_SHA256 = hashes.SHA256()
_SAN = x509.SubjectAlternativeName
