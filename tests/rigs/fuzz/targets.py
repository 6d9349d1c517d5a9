"""Every parser of what strangers can write: one table, for Hypothesis and atheris.

A target takes bytes. It may return anything, or raise what its parser promises; any
other exception is a fault, and so is an answer that takes longer than
:data:`SLOWEST_SECONDS`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from hub.config.settings import load_settings
from landbridge_lab.copies.journal import Journal
from rigs.checkout import CHECKOUT
from rigs.slurm.answers import RECORDED
from services.common.web.errors import BadRequest
from services.common.web.handlers import _checked, printable
from services.edge import maps
from services.storage.api import downloads as names
from services.storage.drivers import identity
from services.storage.s3 import answers as parsing
from services.storage.s3 import headers as s3_headers
from services.storage.s3 import listing
from services.storage.s3.errors import StorageError
from services.storage.spec import SPEC
from spawners.batch.errors import BatchError, InvalidSpec
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.usage import JobUsage, UsageReport
from spawners.batch.jobs.wire import (
    Check,
    Names,
    Note,
    SetSubmission,
    Submission,
    dump,
    read,
)
from spawners.batch.local import files as local_files
from spawners.batch.models import Launch, Resources
from spawners.batch.rendezvous import messages as reports
from spawners.batch.rendezvous import proofs as proof
from spawners.batch.runners import launcher
from spawners.batch.slurm import accounts, cluster, notation, sacct, sbatch, squeue
from spawners.batch.slurm import errors as slurm_errors
from spawners.common import addresses
from spawners.common.settings import ConfigError
from spawners.common.units import parse_duration, parse_memory
from spawners.kernels.previous import previous_kernels
from spawners.kernels.server import replay
from spawners.kernels.settings import load_kernel_settings
from spawners.node.kernel.tunnel import Lines
from spawners.profiles.profiles import load_profiles

SLOWEST_SECONDS = 5.0
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_JOB = "lb-" + "a" * 26
_SCRATCH = Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: for reports and commands.
        run: gives it an input.
        promised: what it may raise.
        seeds: inputs that it takes, to begin from.
    """

    name: str
    run: Callable[[bytes], object]
    promised: tuple[type[BaseException], ...] = ()
    seeds: tuple[bytes, ...] = ()

    def try_one(self, data: bytes) -> bool:
        """Give it an input; tell whether it was taken.

        Raises:
            Exception: one that the parser does not promise.
        """
        try:
            self.run(data)
        except self.promised:
            return False
        return True


def _text(run: Callable[[str], object]) -> Callable[[bytes], object]:
    """Give a parser of texts what can be read of bytes, lone surrogates too."""
    return lambda data: run(data.decode("utf-8", "surrogateescape"))


def _plain(run: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: run(data.decode("utf-8", "replace"))


def _halves(run: Callable[[bytes, bytes], object]) -> Callable[[bytes], object]:
    """Give a parser of two answers an input that a zero byte divides."""
    return lambda data: run(*(data.partition(b"\0")[::2]))


def _in_file(name: str, run: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Give a reader of files a file."""

    def give(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="lbfuzz-", dir=_SCRATCH) as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            return run(path)

    return give


def _recorded(*files: str) -> tuple[bytes, ...]:
    return tuple((RECORDED / name).read_bytes() for name in files)


# -- the jobs service ---------------------------------------------------------------


def _requests() -> Iterable[Target]:
    submission = Submission(
        "alice",
        "server:alice/",
        Resources(cpus=2, time_limit=timedelta(hours=1)),
        "/home/alice",
        script="#!/bin/sh",
        launch=Launch(("a", "b"), {"A": "1"}, {"f": "text"}),
    )
    job = JobUsage(_JOB, "12", _NOW, _NOW, ended=False, cpus=1, gpus=0, memory=1)
    for name, body in {
        "a submission": submission,
        "a set of submissions": SetSubmission(
            submission, ("set:alice/1", "set:alice/2")
        ),
        "names of jobs": Names((_JOB,)),
        "a failure": Failure("It failed", "because", "try again"),
        "a launch": Launch(("a",), {"A": "1"}),
        "a note": Note("ended", "It ended.", {"a": 1, "b": None}, "k"),
        "a check": Check("alice", Resources(gpus=1)),
        "a usage report": UsageReport((job,)),
    }.items():
        yield Target(
            f"asked of the jobs service: {name}",
            partial(read, type(body)),
            (InvalidSpec,),
            (dump(body),),
        )


# -- the batch system ---------------------------------------------------------------


def _slurm() -> Iterable[Target]:
    no = (BatchError,)
    yield Target(
        "squeue's listing",
        squeue.parse_listing,
        no,
        _recorded("squeue-listing.txt"),
    )
    yield Target(
        "squeue by name", squeue.parse_named, no, _recorded("squeue-named.txt")
    )
    yield Target(
        "sacct",
        lambda data: sacct.parse_accounting(data, _NOW),
        no,
        _recorded("sacct.txt"),
    )
    yield Target("sbatch", sbatch.parse_submitted, no, (b"12;cluster\n", b"7\n"))
    yield Target(
        "sbatch --test-only",
        sbatch.parse_estimate,
        no,
        (b"sbatch: Job 3 to start at 2026-01-02T03:04:05 using 1 processors\n",),
    )
    yield Target(
        "scontrol show config",
        cluster.parse_config,
        no,
        _recorded("scontrol-config.txt"),
    )
    partitions, nodes = _recorded("scontrol-partitions.txt", "sinfo-nodes.txt")
    yield Target(
        "scontrol show partition, sinfo",
        _halves(lambda one, two: cluster.snapshot(one, two, _NOW)),
        no,
        (partitions + b"\0" + nodes,),
    )
    for name, run, files in (
        ("user", accounts.parse_user, ("sacctmgr-alice.txt", "sacctmgr-bob.txt")),
        ("accounts", accounts.parse_accounts, ("sacctmgr-accounts.txt",)),
        ("qos", accounts.parse_qos, ("sacctmgr-qos.txt",)),
    ):
        yield Target(f"sacctmgr: {name}", run, no, _recorded(*files))
    yield Target(
        "what Slurm's commands complain of", _complaints, (), _recorded("stderr.txt")
    )
    yield Target(
        "host lists",
        _plain(notation.expand_hosts),
        (),
        (b"n[1-3,7],login", b"a[01-20]b[1-4]"),
    )
    yield Target(
        "array ids", _plain(notation.expand_numbers), (), (b"3_[2-4,7%2]", b"12")
    )
    yield Target(
        "Slurm's times",
        _plain(notation.parse_duration),
        (ValueError,),
        (b"1-02:03:04", b"UNLIMITED"),
    )
    yield Target("addresses", _plain(addresses.plain_address), (), (b"::ffff:1.2.3.4",))


def _complaints(data: bytes) -> None:
    assert isinstance(slurm_errors.submit_error(data), BatchError)
    assert isinstance(slurm_errors.query_error("squeue", data), BatchError)
    slurm_errors.cancel_error(data)


# -- jobs ---------------------------------------------------------------------------


def _jobs() -> Iterable[Target]:
    for kind in (reports.Fetch, reports.Ready, reports.Ended):
        seed = {name: "lb-abc" for name in kind.model_fields}
        yield Target(
            f"a job's report: {kind.__name__.lower()}",
            lambda data, kind=kind: reports.parse(kind, data),
            (reports.Refused,),
            (json.dumps(seed).encode(),),
        )
    yield Target("a job's log", _text(reports.clean_log), (), (b"a\x1b[31mb\n",))
    yield Target(
        "munge's credentials",
        _plain(lambda text: proof.parse_unmunge(text, "payload")),
        (proof.ProofRefused,),
        (b"STATUS:           Success (0)\nUID:              alice (1001)\n\npayload",),
    )
    request = {
        "version": launcher.VERSION,
        "operation": "run",
        "user": "alice",
        "argv": ["scancel", "12"],
        "environment": {},
        "stdin": "",
        "timeout": 5,
    }
    yield Target(
        "requests to the launcher",
        launcher.parse_request,
        (launcher.Refused,),
        (json.dumps(request).encode(),),
    )
    for kind in (local_files.Ticket, local_files.Run, local_files.End):
        yield Target(
            f"the local queue: {kind.__name__.lower()}",
            _in_file(
                "record", lambda path, kind=kind: local_files.read_record(path, kind)
            ),
            (ValueError,),
            (b'{"id": "a", "name": "b", "user": "c", "uid": 1, "order": 1}',),
        )


# -- kernels ------------------------------------------------------------------------


def _kernels() -> Iterable[Target]:
    yield Target(
        "a kernel of the release before",
        _in_file("a.json", _previous),
        (),
        (b'{"owner": "", "ending": false, "created": "2026", "job": null}',),
    )
    yield Target(
        "lines of a kernel's tunnel",
        lambda data: asyncio.run(_hear(data)),
        (),
        (b'{"op": "ping"}\n{"event": "bye"}\n{', b"[]\n"),
    )
    yield Target(
        "Jupyter's messages",
        lambda data: replay.message_id([b"<IDS|MSG>", b"sign", *data.split(b"\0")]),
        (),
        (b'{"msg_id": "a"}\0{}',),
    )
    yield Target(
        "a server's settings of kernels",
        _in_file("kernels.json", load_kernel_settings),
        (ConfigError,),
        (b'{"scheduler": "local"}',),
    )


async def _hear(data: bytes) -> None:
    """Have what a stranger sends arrive in two parts, cut where its first byte says."""
    lines = Lines(lambda message: message.get("event"), lambda _: None)
    cut = data[0] if data else 0
    lines.data_received(data[:cut])
    lines.data_received(data[cut:])


def _previous(path: Path) -> None:
    path.chmod(0o600)
    previous_kernels(path.parent, "")


# -- the edge and the site's files --------------------------------------------------


def _site() -> Iterable[Target]:
    yield Target(
        "the edge's journal",
        _in_file("routes", maps.load_routes),
        (),
        (maps.journal_text([]),),
    )
    yield Target(
        "a route", _plain(maps.key_of), (maps.BadRoute,), (b"/user/a%2fb/", b"h/x/")
    )
    yield Target(
        "a route's target",
        _plain(maps.split_target),
        (maps.BadRoute,),
        (b"http://127.0.0.1:80", b"https://[::1]:1/"),
    )
    yield Target(
        "a map's value",
        _plain(maps.target_of),
        (maps.BadRoute,),
        (b"127.0.0.1|80|-", b"service|storage|-"),
    )
    yield Target(
        "gateway.toml",
        _in_file(
            "gateway.toml", lambda path: load_settings({"LANDBRIDGE_CONFIG": str(path)})
        ),
        (ConfigError,),
        ((CHECKOUT / "config" / "gateway.toml").read_bytes(), b"[hub]\nport = 1\n"),
    )
    yield Target(
        "profiles.yaml",
        _in_file("profiles.yaml", load_profiles),
        (ConfigError,),
        ((CHECKOUT / "config" / "profiles.yaml").read_bytes(),),
    )
    profiles = load_profiles(CHECKOUT / "config" / "profiles.yaml")
    yield Target(
        "what a user picks",
        _json(profiles.resolve),
        (BatchError,),
        (b'{"profile": "small", "cpus": "2", "memory": "1G", "time_limit": "1h"}',),
    )
    yield Target("spans", _plain(parse_duration), (ValueError,), (b"1d 2h 3min 4s",))
    yield Target("amounts", _plain(parse_memory), (ValueError,), (b"1.5GiB",))


def _json(run: Callable[[Any], object]) -> Callable[[bytes], object]:
    """Give JSON values, as the frame reads them; what is none is nobody's fault."""

    def give(data: bytes) -> object:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return run(value)

    return give


# -- storage ------------------------------------------------------------------------

_XML: Mapping[str, tuple[Callable[[bytes], object], bytes]] = {
    "an error": (
        parsing.parse_error,
        b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>",
    ),
    "buckets": (
        parsing.parse_buckets,
        b"<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name><CreationDate>"
        b"2026-01-01T00:00:00Z</CreationDate></Bucket></Buckets>"
        b"</ListAllMyBucketsResult>",
    ),
    "a page of objects": (
        listing.parse_page,
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%2Bb</Key>"
        b"<Size>1</Size><ETag>e</ETag><LastModified>2026-01-01T00:00:00Z"
        b"</LastModified></Contents></ListBucketResult>",
    ),
    "a page of versions": (
        listing.parse_versions,
        b"<ListVersionsResult><Version><Key>a</Key><VersionId>v</VersionId><IsLatest>"
        b"true</IsLatest><Size>1</Size><LastModified>2026-01-01T00:00:00Z"
        b"</LastModified></Version></ListVersionsResult>",
    ),
    "unfinished uploads": (
        listing.parse_uploads,
        b"<ListMultipartUploadsResult><Upload><Key>a</Key><UploadId>u</UploadId>"
        b"<Initiated>2026-01-01T00:00:00Z</Initiated></Upload>"
        b"</ListMultipartUploadsResult>",
    ),
    "deleted objects": (
        parsing.parse_deleted,
        b"<DeleteResult><Error><Key>a</Key><Code>c</Code></Error></DeleteResult>",
    ),
    "tags": (
        parsing.parse_tags,
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    ),
    "parts": (
        parsing.parse_parts,
        b"<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1"
        b"</PartNumber><Size>1</Size><ETag>e</ETag></Part></ListPartsResult>",
    ),
    "rules for pages": (
        parsing.parse_cors,
        b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>"
        b"</CORSConfiguration>",
    ),
    "a role taken": (
        lambda body: parsing.parse_assumed_role(body, "AssumeRole"),
        b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>a"
        b"</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t"
        b"</SessionToken><Expiration>2026-01-01T00:00:00Z</Expiration></Credentials>"
        b"</AssumeRoleResult></AssumeRoleResponse>",
    ),
}


def _storage() -> Iterable[Target]:
    for name, (run, seed) in _XML.items():
        yield Target(f"S3: {name}", run, (StorageError,), (seed,))
    yield Target(
        "S3: an object's headers",
        _halves(_headers),
        (StorageError,),
        (b"content-length\0" + b"12", b"content-range\0bytes 0-1/2"),
    )
    yield Target("S3: a time to wait", _plain(parsing.retry_after), (), (b"12",))
    yield Target("file names", _plain(names.attachment), (), (b"a/b;c\n",))
    yield Target("names in paths", _plain(names.reachable), (), (b"a/../b",))
    yield Target("what errors show", _text(printable), (), (b"a\x1bb",))
    yield Target(
        "identity tokens",
        _plain(_token),
        (),
        (b"eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln", b'{"exp": 1}'),
    )
    yield Target("the journal of copies", _in_file("a.json", _journal), (), (b"{}",))
    for model in _models():
        yield Target(
            f"a body: {model.__name__}",
            _json(lambda value, model=model: _checked(model, value, "body")),
            (BadRequest,),
            (json.dumps(dict.fromkeys(model.model_fields, "a")).encode(),),
        )


def _models() -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for route in SPEC.routes:
        for model in (route.body, route.query):
            if model is not None:
                found[model.__name__] = model
    return [found[name] for name in sorted(found)]


def _headers(name: bytes, value: bytes) -> None:
    headers = httpx.Headers([(name, value)])
    s3_headers.head_in("key", headers)
    s3_headers.total_in(headers, 0)


def _token(text: str) -> None:
    identity.expiry(text)
    identity.forgeries(text)
    claims = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    identity.expiry(f"e30.{claims}.c2ln")


def _journal(path: Path) -> None:
    list(Journal(path.parent).read(()))


TARGETS = (*_requests(), *_slurm(), *_jobs(), *_kernels(), *_site(), *_storage())
