"""The values of the jobs API as JSON: exact both ways, and strict about what comes."""

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch.errors import (
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
)
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import AlreadyLive, UnknownJob
from spawners.batch.jobs.record import JobEvent, JobRecord, Phase
from spawners.batch.jobs.wire import (
    Answer,
    Entry,
    Listing,
    NameUsed,
    Submission,
    dump,
    error_from,
    problem_of,
    read,
)
from spawners.batch.models import BatchJob, JobSpec, JobState, JobStatus, Resources
from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition, UserLimits
from spawners.common.errors import DatabaseUnavailable

texts = st.text(max_size=20)
words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,9}", fullmatch=True)
moments = st.datetimes(timezones=st.just(UTC))
spans = st.timedeltas(timedelta(0), timedelta(days=4000))
counts = st.integers(0, 2**40)
facts = st.dictionaries(texts, texts, max_size=3).map(MappingProxyType)
maybe = st.none

resources = st.builds(
    Resources,
    cpus=st.integers(1, 4096),
    memory=maybe() | st.integers(1024**2, 1024**5),
    gpus=st.integers(1, 64),
    gpu_model=maybe() | words,
    nodes=st.integers(1, 4096),
    time_limit=maybe() | st.timedeltas(timedelta(minutes=1), timedelta(days=365)),
    partition=maybe() | words,
    account=maybe() | words,
    qos=maybe() | words,
    reservation=maybe() | words,
    constraint=maybe() | st.just("a100&ib"),
)
jobs = st.builds(BatchJob, id=texts, submitted=maybe() | moments)
statuses = st.builds(
    JobStatus,
    state=st.sampled_from(JobState),
    nodes=st.lists(texts, max_size=3).map(tuple),
    estimated_start=maybe() | moments,
    started=maybe() | moments,
    ends=maybe() | moments,
    ended=maybe() | moments,
    read_at=maybe() | moments,
)
failures = st.builds(Failure, texts, texts, texts, texts)
records = st.builds(
    JobRecord,
    phase=st.sampled_from(Phase),
    resources=resources,
    created=moments,
    updated=moments,
    facts=facts,
    job=maybe() | jobs,
    status=statuses,
    cancel_wanted=maybe() | moments,
    failure=maybe() | failures,
)
data = st.dictionaries(
    texts,
    texts | counts | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    max_size=3,
)
events = st.builds(JobEvent, at=moments, data=data.map(MappingProxyType))
pools = st.builds(GpuPool)
sets = st.frozensets(texts, max_size=3)
partitions = st.builds(
    Partition,
    max_time=maybe() | spans,
    default_time=maybe() | spans,
    gpus=st.lists(pools, max_size=2).map(tuple),
    allow_accounts=maybe() | sets,
    deny_accounts=sets,
)
snapshots = st.builds(
    ClusterSnapshot,
    taken_at=moments,
    partitions=st.lists(partitions, max_size=2).map(tuple),
    node_addresses=facts,
)
limits = st.builds(
    UserLimits,
    accounts=st.dictionaries(texts, sets, max_size=3),
    max_time=maybe() | st.dictionaries(texts, spans, max_size=2),
    max_time_qos=maybe() | st.dictionaries(texts, spans, max_size=2),
)
specs = st.builds(
    JobSpec,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,8}[a-z]", fullmatch=True),
    script=st.from_regex(r"#![a-z]{1,9}", fullmatch=True),
    resources=resources,
    workdir=st.just("/home/alice"),
    output=maybe() | st.just("/home/alice/o%j"),
    environment=st.dictionaries(
        st.from_regex(r"[A-Za-z_]{1,9}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9),
        max_size=3,
    ).map(MappingProxyType),
    warn_before=maybe() | spans,
    comment=st.just("") | st.just("a remark"),
    options=st.lists(texts, max_size=2).map(tuple),
)
submissions = st.builds(Submission.of, specs, user=texts, owner=texts, facts=facts)


@given(
    st.one_of(
        records, events, resources, failures, snapshots, limits, specs, submissions
    )
)
def test_what_is_written_is_read_as_the_same(value):
    assert read(type(value), dump(value)) == value


@given(specs, facts)
def test_a_submission_gives_the_spec_that_it_was_made_of(spec, facts):
    sent = Submission.of(spec, user="alice", owner="server:alice/", facts=facts)
    assert sent.spec(spec.name, spec.script) == spec
    assert read(Submission, dump(sent)).digest == sent.digest


def test_what_a_later_release_adds_changes_no_digest():
    """It has to know the request again that was made just before it was installed."""
    sent = Submission("alice", "server:alice/", Resources(), "/tmp", script="#!/bin/sh")

    @dataclass(frozen=True)
    class Later(Submission):
        priority: int = 0

    shared = {field.name: getattr(sent, field.name) for field in fields(Submission)}
    assert Later(**shared).digest == sent.digest
    assert Later(**shared, priority=1).digest != sent.digest


RECORD = JobRecord(
    "lb-x",
    "server:alice/",
    1,
    "alice",
    Phase.INTENT,
    Resources(),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
)


def test_every_change_of_a_request_changes_its_digest():
    sent = Submission("alice", "server:alice/", Resources(), "/tmp", script="#!/bin/sh")
    others = [
        replace(sent, user="bob"),
        replace(sent, owner="server:alice/x"),
        replace(sent, resources=Resources(cpus=2)),
        replace(sent, script="#!/bin/sh\n"),
        replace(sent, environment={"A": "1"}),
        replace(sent, facts={"a": "1"}),
        replace(sent, options=("--exclusive",)),
        replace(sent, warn_before=timedelta(minutes=1)),
    ]
    assert len({sent.digest, *(other.digest for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ([], "odd"),
        (["entries", 0], "entries.0.odd"),
        (["entries", 0, "record"], "entries.0.record.odd"),
        (["entries", 0, "record", "status"], "entries.0.record.status.odd"),
    ],
)
def test_an_unknown_field_is_named_or_passed_over_from_a_newer_one(place, field):
    listing = Listing("e", 1, (Entry(RECORD, 0, 1),))
    sent = json.loads(dump(listing))
    inner = sent
    for step in place:
        inner = inner[step]
    inner["odd"] = 1
    with pytest.raises(InvalidSpec) as caught:
        read(Listing, json.dumps(sent))
    assert caught.value.field == field
    assert read(Listing, json.dumps(sent), newer=True) == listing


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cpus": 0}, "cpus"),
        ({"cpus": "1"}, "cpus"),
        ({"cpus": 10**30}, "cpus"),
        ({"time_limit": "long"}, "time_limit"),
        ({"partition": "a b"}, "partition"),
        ({"cpus\x1b[1m": 1}, "cpus?[1m"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(change, field):
    raw = json.dumps(json.loads(dump(Resources())) | change)
    with pytest.raises(InvalidSpec) as caught:
        read(Resources, raw)
    assert caught.value.field == field


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b"\xff", b'"x"', b"{}"])
def test_what_is_no_such_value_is_refused(raw):
    with pytest.raises(InvalidSpec):
        read(Answer, raw)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AlreadyLive(RECORD), 409),
        (NameUsed("It was used.", field="name"), 409),
        (UnknownJob("There is no such job."), 404),
        (LimitReached("Too many.", hint="End one.", field="qos"), 429),
        (SubmitRejected("Never.", hint="Ask for less.", field="cpus"), 422),
        (InvalidSpec("memory", "is too much.", hint="Less."), 422),
        (NotPermitted("Not as this account."), 403),
        (AuthenticationBroken("Munge is away."), 503),
        (DatabaseUnavailable("The disk is full."), 503),
        (SchedulerUnavailable("No answer.", hint="Wait."), 503),
    ],
)
def test_an_error_arrives_as_what_it_was(error, status):
    sent, answer = problem_of(error)
    back = error_from(read(type(answer), dump(answer)))
    assert sent == status
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
