"""Your buckets, from every S3 client.

Clients of AWS's SDKs need nothing from here; these helpers are for the others, for
keys to less than everything, and for a person whose own ``AWS_*`` settings point to
another store. Keys live for an hour and renew by themselves where it says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from . import _http
from ._libraries import aws_refresh, library

if TYPE_CHECKING:
    import boto3
    import duckdb as duckdb_library
    import obstore.store
    import pyarrow.fs
    import s3fs

__all__ = [
    "Bucket",
    "Credentials",
    "Mode",
    "Place",
    "boto3_client",
    "boto3_session",
    "buckets",
    "credentials",
    "duckdb",
    "filesystem",
    "fsspec_options",
    "place",
    "pyarrow_filesystem",
    "rclone_config",
    "renew",
    "store",
]

Mode = Literal["read", "read-write"]


@dataclass(frozen=True)
class Credentials:
    """Keys for an S3 client, good until ``expires``."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime


@dataclass(frozen=True)
class Place:
    """Where S3 is.

    Attributes:
        endpoint: a URL.
        region: what the store calls its region.
        bucket: your own bucket; ``""`` if you have none.
    """

    endpoint: str
    region: str
    bucket: str

    @property
    def host(self) -> str:
        """The endpoint without its scheme, as some clients want it."""
        return self.endpoint.partition("://")[2].rstrip("/")

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to by https."""
        return self.endpoint.startswith("https:")


@dataclass(frozen=True)
class Bucket:
    """A bucket, or a prefix of one, that you may use.

    Attributes:
        mode: ``read`` or ``read-write``.
        why: ``own``, ``group``, ``site`` or ``share``.
        owner: who shared it, or the group; else ``""``.
        quota: most bytes that it may hold; ``None`` for no limit.
        used: bytes that it held when it was last measured; ``None`` if unknown.
    """

    name: str
    prefix: str
    mode: Mode
    why: str
    owner: str = ""
    quota: int | None = None
    used: int | None = None


def place() -> Place:
    """Return where S3 is, and your own bucket."""
    facts = _http.ask("storage")
    return Place(str(facts["endpoint"]), str(facts["region"]), str(facts["bucket"]))


def buckets() -> list[Bucket]:
    """Return every bucket that you may use, your own first.

    Unlike ``list_buckets()`` of an S3 client it works on every store, and lists what
    others share with you.
    """
    return [_bucket(each) for each in _http.ask("buckets")["buckets"]]


def _bucket(facts: Mapping[str, Any]) -> Bucket:
    usage = facts.get("usage") or {}
    return Bucket(
        name=str(facts["name"]),
        prefix=str(facts.get("prefix") or ""),
        mode="read" if facts.get("mode") == "read" else "read-write",
        why=str(facts.get("why") or ""),
        owner=str(facts.get("owner") or ""),
        quota=facts.get("quota"),
        used=usage.get("bytes"),
    )


def credentials(
    bucket: str = "", prefix: str = "", mode: Mode = "read-write"
) -> Credentials:
    """Return keys: to all that you may use, or to one bucket or prefix only.

    Two calls within an hour may give the same keys. To hand keys on, ask for as
    little as will do: ``credentials("data", "run-7/", "read")``.

    Raises:
        StorageRefused: it is not yours to use like this.
        StorageUnavailable: keys cannot be had now.
    """
    return _credentials(bucket=bucket, prefix=prefix, mode=mode if bucket else "")


def _credentials(**query: str) -> Credentials:
    keys = _http.ask("credentials", **query)
    expires = str(keys["Expiration"]).replace("Z", "+00:00")
    return Credentials(
        str(keys["AccessKeyId"]),
        str(keys["SecretAccessKey"]),
        str(keys["Token"]),
        datetime.fromisoformat(expires),
    )


def renew() -> None:
    """Let libraries fetch keys anew, for buckets that have become yours since.

    New keys come by themselves to programs that start later. In this kernel it makes
    boto3, s3fs and what uses them forget theirs; clients that you hold keep them, so
    make those again.

    Raises:
        StorageUnavailable: keys cannot be had now.
    """
    _http.ask("credentials", renew="1")
    loaded: Mapping[str, Any] = sys.modules  # nothing else can hold keys
    if "boto3" in loaded:
        loaded["boto3"].DEFAULT_SESSION = None
    if "s3fs" in loaded:
        loaded["s3fs"].S3FileSystem.clear_instance_cache()


def _sdks_are_ours() -> bool:
    """Whether clients without arguments use this gateway's store."""
    url, _ = _http.address()
    return os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") == url


# -- one helper per client ----------------------------------------------------------


def store(
    bucket: str = "", prefix: str | None = None, **options: Any
) -> obstore.store.S3Store:
    """Return an obstore store; its keys renew.

    Where one set of keys has no room for all that you may use, these are for this
    bucket only.

    Args:
        bucket: its name; your own if none is given.
        prefix: what all keys begin with.
        options: more of ``S3Store``'s.
    """
    module = library("obstore.store", "obstore")
    here = place()
    name = bucket or here.bucket

    def provide() -> dict[str, Any]:
        keys = _credentials(use=name, prefix=prefix or "")
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": keys.expires,
        }

    made: obstore.store.S3Store = module.S3Store(
        name,
        prefix=prefix,
        endpoint=here.endpoint,
        region=here.region,
        virtual_hosted_style_request=False,
        client_options={"allow_http": not here.is_tls},
        credential_provider=provide,
        **options,
    )
    return made


def fsspec_options() -> dict[str, Any]:
    """Return ``storage_options`` for pandas, dask, zarr and whatever else uses s3fs.

    They hold no keys, so they renew and may be stored; where your own ``AWS_*``
    settings point elsewhere they hold keys that are good for up to an hour.
    """
    here = place()
    options: dict[str, Any] = {
        "endpoint_url": here.endpoint,
        "client_kwargs": {"region_name": here.region},
    }
    if not _sdks_are_ours():
        keys = credentials()
        options |= {
            "key": keys.access_key,
            "secret": keys.secret_key,
            "token": keys.token,
        }
    return options


def filesystem(**options: Any) -> s3fs.S3FileSystem:
    """Return an s3fs file system with :func:`fsspec_options`."""
    module = library("s3fs")
    made: s3fs.S3FileSystem = module.S3FileSystem(**fsspec_options() | options)
    return made


def pyarrow_filesystem(**options: Any) -> pyarrow.fs.S3FileSystem:
    """Return pyarrow's own file system, which ignores ``AWS_ENDPOINT_URL``.

    Its keys renew, unless your own ``AWS_*`` settings point elsewhere.
    """
    module = library("pyarrow.fs", "pyarrow")
    here = place()
    known: dict[str, Any] = {
        "endpoint_override": here.host,
        "scheme": "https" if here.is_tls else "http",
        "region": here.region,
    }
    if not _sdks_are_ours():
        keys = credentials()
        known |= {
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "session_token": keys.token,
        }
    made: pyarrow.fs.S3FileSystem = module.S3FileSystem(**known | options)
    return made


def boto3_session() -> boto3.Session:
    """Return a boto3 session whose keys renew, whatever the environment says."""
    module = library("boto3")
    session = library("botocore.session", "boto3").Session()
    session._credentials = aws_refresh(credentials)
    made: boto3.Session = module.Session(
        botocore_session=session, region_name=place().region
    )
    return made


def boto3_client(service: str = "s3", **options: Any) -> Any:
    """Return a boto3 client for the gateway's store, with SigV4 for presigned URLs.

    Args:
        service: ``s3``.
        options: more of ``Session.client``'s.
    """
    config = library("botocore.config", "boto3").Config(
        signature_version="s3v4", s3={"addressing_style": "path"}
    )
    known: dict[str, Any] = {"endpoint_url": place().endpoint, "config": config}
    return boto3_session().client(service, **known | options)


def duckdb(
    connection: duckdb_library.DuckDBPyConnection,
) -> duckdb_library.DuckDBPyConnection:
    """Let ``connection`` read and write ``s3://``; return it.

    Makes the secret ``landbridge`` and loads DuckDB's extension ``httpfs``: from the
    wheel ``duckdb-extension-httpfs`` if that is installed, else from DuckDB's own
    site. The keys are good for up to an hour: call it again when a query is refused.
    """
    _load_extension(connection, "httpfs")
    here, keys = place(), credentials()
    settings = {
        "KEY_ID": keys.access_key,
        "SECRET": keys.secret_key,
        "SESSION_TOKEN": keys.token,
        "ENDPOINT": here.host,
        "REGION": here.region,
        "URL_STYLE": "path",
    }
    words = ", ".join(f"{name} {_literal(value)}" for name, value in settings.items())
    tls = "true" if here.is_tls else "false"
    connection.execute(
        f"CREATE OR REPLACE SECRET landbridge (TYPE s3, USE_SSL {tls}, {words})"
    )
    return connection


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _load_extension(connection: duckdb_library.DuckDBPyConnection, name: str) -> None:
    bundled = library("duckdb_extensions", optional=True)
    if bundled is not None:
        bundled.import_extension(name, con=connection)
    else:
        connection.install_extension(name)
    connection.load_extension(name)


def rclone_config(remote: str = "s3") -> dict[str, str]:
    """Return environment variables that are a remote of rclone's.

    Notebooks and terminals have the remote ``s3:`` already, and its keys renew. This
    is for programs that run elsewhere: the keys in it are good for up to an hour.

    Args:
        remote: its name: letters, digits and ``_``.
    """
    here, keys = place(), credentials()
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENV_AUTH": "false",
        "ENDPOINT": here.endpoint,
        "REGION": here.region,
        # Else it makes each bucket before it writes, which these keys may not.
        "NO_CHECK_BUCKET": "true",
        "ACCESS_KEY_ID": keys.access_key,
        "SECRET_ACCESS_KEY": keys.secret_key,
        "SESSION_TOKEN": keys.token,
    }
    prefix = f"RCLONE_CONFIG_{remote.upper()}_"
    return {prefix + name: value for name, value in settings.items()}
