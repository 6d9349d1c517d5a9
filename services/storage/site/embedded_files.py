"""What the embedded SeaweedFS reads: secrets made once, ports, its command line.

Written for SeaweedFS 4.48; ``security.toml`` is read from its working directory.

- ``security.toml``: keys for the tokens (JWT) of volumes and filer, and one
  certificate for gRPC in both directions, which is its own authority.
- ``master.toml``: how many volumes a new bucket begins with.
- ``s3.json``: the one identity, the broker.
- ``iam.json``: STS, and the one role, which trusts the broker and nobody else.

Where it runs as an account of its own, that owns what it reads and its objects; the
directory stays ours, so that nothing in it can be put in the place of something else.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.storage.site.embedded_ports import Ports, port_socket, protected_ports
from spawners.common.files import write_whole
from spawners.common.ownership import own_directory

from ..s3.values import AccessKey

BROKER = "root"
ROLE = "landbridge"
ROLE_ARN = f"arn:aws:iam::role/{ROLE}"
_POLICY = "landbridge-all-s3"
_GRPC_PARTS = (
    "master",
    "volume",
    "filer",
    "s3",
    "admin",
    "worker",
    "client",
    "msg_broker",
    "msg_agent",
    "mq",
)
_JWT_PARTS = (
    "jwt.signing",
    "jwt.signing.read",
    "jwt.filer_signing",
    "jwt.filer_signing.read",
)
_CENTURY = timedelta(days=36_500)
SCRATCH = "tmp"
"""Holds the store's temporary files, of which some are as large as an object."""
_READ = (
    "security.toml",
    "master.toml",
    "s3.json",
    "iam.json",
    "certs/grpc.crt",
    "certs/grpc.key",
)
_WRITTEN = ("data", "sock", SCRATCH)
SOCKET = "s3.sock"
"""In ``sock``: leads to the socket on which the store speaks S3."""


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """How the embedded store is run.

    Attributes:
        directory: its own, made with mode 0700 if need be.
        allowed_origins: pages that may call a bucket without CORS rules; the
            gateway's public origin.
        external_url: under which SDKs reach it through the gateway.
        account: as root, run it as this account; ``None`` for root.
        providers: identity providers whose tokens STS takes, by name, each with
            ``issuer``, ``clientId`` and ``jwksUri``.
        closed: nobody but us comes, by the socket: a port that is not protected (see
            :func:`protected_ports`) answers only to a certificate that we have.
        iam_changes: the key may make users by IAM's API, which the gateway does not.
        volume_size: megabytes per volume file.
        session_length: of sessions that do not say how long; ours always do.
    """

    directory: Path
    allowed_origins: tuple[str, ...] = ()
    external_url: str = ""
    account: str | None = None
    providers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    closed: bool = False
    iam_changes: bool = False
    volume_size: int = 1024
    session_length: timedelta = timedelta(hours=1)


def command_line(settings: EmbeddedSettings, ports: Ports, program: str) -> list[str]:
    """Return SeaweedFS's argv, without secrets; it runs in the directory."""
    command = [
        program,
        "-logtostderr=true",  # not to files beside, which nobody looks after
        "mini",
        # Without this any account reads and destroys everything through loopback.
        "-disableHttp",
        "-dir=./data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={ports.master}",
        f"-volume.port={ports.volume}",
        f"-filer.port={ports.filer}",
        f"-s3.port={ports.s3}",
        f"-admin.port={ports.admin}",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={settings.volume_size}",
        # Each bucket has volumes of its own, which grow as they are filled: were
        # their number bound to the disk's size, few buckets would use it up.
        "-volume.max=20000",
        "-s3.config=s3.json",
        "-s3.iam.config=iam.json",
        # STS needs the API to be on.
        f"-s3.iam.readOnly={'false' if settings.iam_changes else 'true'}",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-filer.localSocket=sock/filer.sock",
        f"-s3.localSocket=sock/{port_socket(ports)}",
    ]
    if settings.closed and ports.s3 not in protected_ports():
        command += [
            "-s3.cert.file=certs/grpc.crt",
            "-s3.key.file=certs/grpc.key",
            "-s3.cacert.file=certs/grpc.crt",
            "-s3.tlsVerifyClientCert=true",
        ]
    if settings.allowed_origins:
        command.append(f"-s3.allowedOrigins={','.join(settings.allowed_origins)}")
    if settings.external_url:
        command.append(f"-s3.externalUrl={settings.external_url}")
    return command


def prepare(settings: EmbeddedSettings) -> AccessKey:
    """Make the directory whole and return the broker's key.

    Secrets that are there stay; ``iam.json`` follows the settings. A store that is to
    run as another account needs :func:`hand_over` before it starts.
    """
    root = settings.directory
    account = other_account(settings)
    own_directory(root, others=() if account is None else (account.pw_uid,))
    if account is not None:
        os.chown(root, 0, 0)
        root.chmod(0o711)
    for name in (*_WRITTEN, "certs"):
        # In a directory of ours, so whoever owns it has it from us.
        own_directory(root / name, others=_owner_of(root / name))
    if not (root / "certs" / "grpc.key").exists():
        certificate, key = _certificate()
        write_whole(root / "certs" / "grpc.crt", certificate)
        write_whole(root / "certs" / "grpc.key", key)
    if not (root / "security.toml").exists():
        write_whole(root / "security.toml", _security(root))
    write_whole(root / "master.toml", "[master.volume_growth]\ncopy_1 = 2\n")
    if not (root / "s3.json").exists():
        write_whole(root / "s3.json", json.dumps(_identities()))
    signing = root / "sts.key"
    if not signing.exists():
        write_whole(signing, base64.b64encode(secrets.token_bytes(32)).decode())
    iam = json.dumps(_iam(settings, signing.read_text().strip()), sort_keys=True)
    write_whole(root / "iam.json", iam)
    broker = json.loads((root / "s3.json").read_text())["identities"][0]
    credential = broker["credentials"][0]
    return AccessKey(credential["accessKey"], credential["secretKey"])


def link_socket(directory: Path, ports: Ports) -> None:
    """Lead ``SOCKET`` to the store that is about to start, and forget earlier ones."""
    sockets = directory / "sock"
    for old in sockets.glob("s3*.sock"):
        old.unlink()
    (sockets / SOCKET).symlink_to(port_socket(ports))


def _certificate() -> tuple[str, str]:
    """Return a certificate that is its own authority, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "landbridge-store")])
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = x509.SubjectAlternativeName([x509.DNSName("landbridge-store")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _CENTURY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )


def _security(root: Path) -> str:
    certificate = json.dumps(str(root / "certs" / "grpc.crt"))
    key = json.dumps(str(root / "certs" / "grpc.key"))
    lines = [
        "[access]",
        "ui = false",
        "[filer.expose_directory_metadata]",
        "enabled = false",
    ]
    for part in _JWT_PARTS:
        lines += [f"[{part}]", f'key = "{secrets.token_urlsafe(32)}"']
    lines += ["[grpc]", f"ca = {certificate}"]
    for part in _GRPC_PARTS:
        lines += [f"[grpc.{part}]", f"cert = {certificate}", f"key = {key}"]
    return "\n".join(lines) + "\n"


def _identities() -> dict[str, Any]:
    credential = {
        "accessKey": f"LB{secrets.token_hex(9).upper()}",
        "secretKey": secrets.token_urlsafe(30),
    }
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    broker = {"name": BROKER, "credentials": [credential], "actions": actions}
    return {"identities": [broker]}


def _iam(settings: EmbeddedSettings, signing_key: str) -> dict[str, Any]:
    everything = {
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"],
    }
    broker = {
        "Effect": "Allow",
        # By name: with "*" any key would assume the role and lose its limits.
        "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{BROKER}"},
        "Action": ["sts:AssumeRole"],
    }
    role = {
        "roleName": ROLE,
        "roleArn": ROLE_ARN,
        "trustPolicy": {"Version": "2012-10-17", "Statement": [broker]},
        "attachedPolicies": [_POLICY],
    }
    roles = [role, *(_web_role(name) for name in settings.providers)]
    return {
        "sts": {
            "tokenDuration": f"{int(settings.session_length.total_seconds())}s",
            "maxSessionLength": "12h",
            "issuer": "landbridge-store",
            "signingKey": signing_key,
            "providers": [
                {"name": name, "type": "oidc", "enabled": True, "config": dict(facts)}
                for name, facts in settings.providers.items()
            ],
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": roles,
        "policies": [
            {
                "name": _POLICY,
                "document": {"Version": "2012-10-17", "Statement": [everything]},
            }
        ],
    }


def web_role_arn(provider: str) -> str:
    """Return the role that tokens of ``provider`` assume."""
    return f"arn:aws:iam::role/{ROLE}-{provider}"


def _web_role(provider: str) -> dict[str, Any]:
    trusted = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
    }
    return {
        "roleName": f"{ROLE}-{provider}",
        "roleArn": web_role_arn(provider),
        "trustPolicy": {"Version": "2012-10-17", "Statement": [trusted]},
        "attachedPolicies": [_POLICY],
    }


def _owner_of(path: Path) -> tuple[int, ...]:
    return (path.lstat().st_uid,) if os.path.lexists(path) else ()


def other_account(settings: EmbeddedSettings) -> pwd.struct_passwd | None:
    """Return as whom the store runs, where that is another than we are."""
    if settings.account is None or os.geteuid() != 0:
        return None
    return pwd.getpwnam(settings.account)


def hand_over(settings: EmbeddedSettings) -> None:
    """Give the store's account its objects, its sockets, and what it reads; no more.

    For when no store runs: one that still ran as root would go on to make files that
    its successor cannot read. Objects of a store that ran as root are handed over once:
    what holds them is given last, so that one who was interrupted does it again.
    Temporary files that the earlier store left are removed.
    """
    root, account = settings.directory, other_account(settings)
    shutil.rmtree(root / SCRATCH)
    (root / SCRATCH).mkdir(0o700)
    if account is None:
        if os.geteuid() == 0:
            for name in _WRITTEN:  # handed over in whole, should it be again
                os.chown(root / name, 0, 0)
        return
    ids = (account.pw_uid, account.pw_gid)
    for name in _WRITTEN:
        if (root / name).lstat().st_uid == account.pw_uid:
            continue
        for folder, folders, files in os.walk(root / name, topdown=False):
            for one in (*folders, *files):
                os.chown(Path(folder, one), *ids, follow_symlinks=False)
        os.chown(root / name, *ids)
    os.chown(root / "certs", 0, 0)
    (root / "certs").chmod(0o711)
    for name in _READ:
        os.chown(root / name, *ids, follow_symlinks=False)
