"""Policies, names, denials, URLs and sealed keys, without a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.access.sessions import MOST
from services.storage.drivers.brought import Vault
from services.storage.drivers.policies import (
    LONGEST_POLICY,
    session_name,
    session_policy,
    split,
)
from services.storage.drivers.revocation import ROOM_FOR_OWN, denied, revised
from services.storage.s3.errors import GrantRefused, KeyRefused, StorageError
from services.storage.s3.object_names import EVERY_KEY, KeyRules
from services.storage.s3.signing import Presigner, encode_query, quote_key
from services.storage.s3.values import AccessKey, Grant, Mode

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)
PREFIXES = st.text(
    st.characters(codec="utf-8", exclude_characters="*?$"), max_size=40
).map(lambda text: text and f"{text}/")
GRANTS = st.builds(Grant, BUCKETS, PREFIXES, st.sampled_from(Mode))
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ARN = "arn:aws:sts::000000000000:assumed-role/landbridge/alice--0123456789abcdef"


@given(st.lists(GRANTS, min_size=1, max_size=30))
def test_groups_have_room_and_lose_nothing(grants):
    groups = split(grants)
    assert [grant for group in groups for grant in group] == grants
    for group in groups:
        text = session_policy(group)
        assert len(text) <= LONGEST_POLICY
        names = {f"arn:aws:s3:::{grant.bucket}" for grant in group}
        for statement in json.loads(text)["Statement"]:
            for resource in statement["Resource"]:
                assert resource.partition("/")[0] in names


@pytest.mark.parametrize("prefix", ["a*", "a?b/", "${aws:username}/", "\udc80"])
def test_a_prefix_that_a_policy_would_read_is_refused(prefix):
    with pytest.raises(GrantRefused):
        session_policy([Grant("bucket", prefix)])


@pytest.mark.parametrize("bucket", ["", "*", "a/b", "A", "..", "a" * 64, "a\n"])
def test_a_bucket_that_is_none_is_refused(bucket):
    with pytest.raises(GrantRefused):
        session_policy([Grant(bucket)])


def test_nothing_granted_is_no_session():
    with pytest.raises(GrantRefused):
        session_policy([])


@given(st.text(max_size=100))
def test_every_user_has_a_session_name_that_stores_take(user):
    name = session_name(user, "0123456789abcdef")
    assert 2 <= len(name) <= 64
    assert name.endswith("--0123456789abcdef")
    assert name.isascii()
    assert not set(name) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=,.@-"
    )


@given(st.integers(-100_000, 100_000), st.integers(1, 40))
def test_denials_are_kept_until_they_are_pointless(age, count):
    document = None
    until = NOW + timedelta(seconds=age)
    for number in range(count):
        revision = revised(document, "bucket", f"{ARN}{number}", until, now=NOW)
        document = revision.document
        assert revision.changed == (age > 0)
    assert len(denied(document)) == (count if age > 0 else 0)
    later = revised(document, "bucket", None, None, now=until + timedelta(minutes=6))
    assert later.document is None
    assert later.dropped == (count if age > 0 else 0)


def test_the_statements_of_others_are_not_touched():
    theirs = [
        {"Sid": "LandbridgeRevokedX", "Effect": "Deny", "Principal": "*"},
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:*"},
        "odd",
    ]
    document = {"Version": "2008-10-17", "Id": "x", "Statement": theirs}
    until = NOW + timedelta(hours=1)
    revision = revised(document, "bucket", ARN, until, now=NOW)
    assert revision.document is not None
    assert revision.document["Statement"][-3:] == theirs
    assert revision.document["Id"] == "x"
    again = revised(revision.document, "bucket", ARN, until, now=NOW)
    assert not again.changed
    gone = revised(revision.document, "b", None, None, now=NOW + timedelta(hours=2))
    assert gone.document == document


def test_a_full_policy_is_told():
    document = None
    until = NOW + timedelta(hours=1)
    with pytest.raises(StorageError, match="is full"):
        for number in range(2000):
            document = revised(
                document, "bucket", f"{ARN}{number}", until, now=NOW
            ).document
    assert len(denied(document)) > 200


def test_users_own_wishes_leave_room_for_the_ends_of_shares():
    longest = f"arn:aws:sts::000000000000:assumed-role/landbridge/{'a' * 64}"
    until = NOW + timedelta(hours=1)
    document, count = None, 0
    with pytest.raises(StorageError, match="is full"):
        for number in range(2000):
            arn = f"{longest}{number}"
            room = ROOM_FOR_OWN
            found = revised(document, "bucket", arn, until, room=room, now=NOW)
            document, count = found.document, number
    assert count > 50
    for number in range(count, MOST):  # all that a guest may have
        arn = f"{longest}{number}"
        document = revised(document, "bucket", arn, until, now=NOW).document
    assert len(denied(document)) == MOST


@given(KEYS)
def test_keys_are_encoded_once_and_come_back(key):
    quoted = quote_key(key)
    assert quoted.isascii()
    assert not set(quoted) & set("+?#& \n")
    assert unquote(quoted) == key
    rules = KeyRules(*[False] * 6, longest_segment=255)
    for one in (rules, EVERY_KEY):
        try:
            one.check(key)
        except KeyRefused as error:
            assert str(error).isprintable()


@given(st.dictionaries(KEYS, KEYS, max_size=4))
def test_queries_are_sorted_and_have_no_plus(query):
    text = encode_query(query)
    assert "+" not in text
    pairs = [pair.split("=") for pair in text.split("&")] if text else []
    assert {unquote(name): unquote(value) for name, value in pairs} == query


def test_a_presigner_wants_an_authority_and_a_lifetime():
    key = AccessKey("a", "secret-of-a")
    for wrong in (
        "gateway.example",
        "ftp://x",
        "https://gateway.example/s3",
        "https://",
    ):
        with pytest.raises(ValueError, match="authority"):
            Presigner(key, "us-east-1", wrong)
    presigner = Presigner(key, "us-east-1", "https://gateway.example")
    for wrong in (timedelta(0), timedelta(days=8)):
        with pytest.raises(ValueError, match="live"):
            presigner.get("bucket", "key", wrong)
    assert "secret-of-a" not in presigner.get("b", "k", timedelta(minutes=1)).url
    assert "secret-of-a" not in repr(key)


def test_a_sealed_key_opens_for_its_user_only(tmp_path):
    vault = Vault(tmp_path / "key")
    key = AccessKey("access", "secret", None)
    sealed = vault.seal("alice", key)
    assert b"secret" not in sealed
    assert vault.open("alice", sealed) == key
    assert Vault(tmp_path / "key").open("alice", sealed) == key
    for user, text in (
        ("bob", sealed),
        ("alice", sealed[:-1] + b"x"),
        ("alice", b""),
        ("alice", b"\x02" + sealed[1:]),
    ):
        with pytest.raises(StorageError, match="cannot be opened"):
            vault.open(user, text)
    with pytest.raises(StorageError):
        Vault(tmp_path / "other").open("alice", sealed)


def test_a_key_file_is_ours_alone(tmp_path):
    path = tmp_path / "key"
    Vault(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        Vault(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="no key file"):
        Vault(path)
