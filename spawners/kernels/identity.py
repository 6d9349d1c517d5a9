"""The one key and certificate that both ends of a kernel's tunnel show and trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spawners.batch.rendezvous.certificates import KeyPair, job_host

# Longer than any job; clocks of nodes may be behind.
_LIFE, _SKEW = timedelta(days=400), timedelta(days=1)


def new_identity(name: str) -> KeyPair:
    """Make a P-256 key and a certificate that it signs itself, for one job."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name holds 64 characters at most.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(job_host(name))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return KeyPair(
        private.decode("ascii"),
        certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        certificate.fingerprint(hashes.SHA256()).hex(),
    )
