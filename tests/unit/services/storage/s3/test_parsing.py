"""Parsers: exact on what stores send, and an error of ours on anything else."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.s3.answers import (
    moment,
    parse_assumed_role,
    parse_buckets,
    parse_cors,
    parse_deleted,
    parse_error,
    parse_parts,
    parse_tags,
    parse_xml,
    retry_after,
    whole_number,
)
from services.storage.s3.errors import StoreAnswerInvalid
from services.storage.s3.listing import (
    list_query,
    parse_page,
    parse_uploads,
    parse_versions,
)

PARSERS = [
    parse_page,
    parse_versions,
    parse_uploads,
    parse_buckets,
    parse_deleted,
    parse_parts,
    parse_tags,
    parse_cors,
    lambda body: parse_assumed_role(body, "AssumeRole"),
]
NAMES = [
    *("ListBucketResult", "ListVersionsResult", "ListMultipartUploadsResult"),
    *("ListAllMyBucketsResult", "DeleteResult", "ListPartsResult", "Tagging"),
    *("CORSConfiguration", "AssumeRoleResponse", "AssumeRoleResult", "Credentials"),
    *("Contents", "Key", "Size", "LastModified", "ETag", "IsTruncated", "Part"),
    *("NextContinuationToken", "EncodingType", "CommonPrefixes", "Prefix", "Upload"),
    *("Version", "DeleteMarker", "Bucket", "Buckets", "Name", "CreationDate"),
    *("PartNumber", "NextPartNumberMarker", "CORSRule", "MaxAgeSeconds", "Error"),
]
TEXTS = st.sampled_from(
    [
        "",
        "url",
        "true",
        "1",
        "-1",
        "a%2",
        "%FF",
        "2026-01-01T00:00:00Z",
        "NaN",
        "x" * 99,
    ]
)
KEYS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60
)


def trees() -> st.SearchStrategy[str]:
    def wrap(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(st.sampled_from(NAMES), st.lists(inner, max_size=4)).map(
            lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>"
        )

    leaves = st.tuples(st.sampled_from(NAMES), TEXTS).map(
        lambda pair: f"<{pair[0]}>{escape(pair[1])}</{pair[0]}>"
    )
    return st.recursive(leaves, wrap, max_leaves=12)


@given(st.one_of(st.binary(max_size=200), trees().map(str.encode)))
def test_any_bytes_are_parsed_or_refused_in_our_words(body):
    for parse in PARSERS:
        try:
            parse(body)
        except StoreAnswerInvalid as error:
            assert str(error).isprintable()
    parse_error(body)


def page_of(keys, encode, *, encoding=True) -> bytes:
    items = "".join(
        f"<Contents><Key>{escape(encode(key))}</Key><Size>{number}</Size>"
        "<LastModified>2026-01-02T03:04:05.678Z</LastModified>"
        "<ETag>&quot;abc&quot;</ETag></Contents>"
        for number, key in enumerate(keys)
    )
    kind = "<EncodingType>url</EncodingType>" if encoding else ""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<ListBucketResult {space}>{kind}{items}</ListBucketResult>".encode()


@given(st.lists(KEYS, max_size=5))
def test_keys_come_out_as_they_are_however_blanks_are_written(keys):
    for encode, plus in ((quote_plus, True), (quote, False), (quote, True)):
        page = parse_page(page_of(keys, encode), plus_is_blank=plus)
        assert [item.key for item in page.objects] == keys
    if page.objects:
        assert page.objects[0].etag == "abc"
        assert page.objects[0].modified.tzinfo is UTC


@given(st.binary(min_size=1, max_size=30))
def test_keys_that_are_no_utf_8_keep_their_bytes(raw):
    text = "".join(f"%{byte:02X}" for byte in raw)
    page = parse_page(page_of([text], str))
    assert page.objects[0].key.encode("utf-8", "surrogateescape") == raw


def test_without_an_encoding_nothing_is_decoded():
    page = parse_page(page_of(["a%20b+c"], str, encoding=False))
    assert page.objects[0].key == "a%20b+c"


@given(st.text(string.printable, max_size=25))
def test_numbers_and_times_are_read_or_refused(text):
    for read in (whole_number, moment):
        try:
            read(text)
        except StoreAnswerInvalid:
            continue
    retry_after(text)


def test_times_without_a_zone_are_utc():
    assert moment("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert moment("2026-01-02T03:04:05+01:00").hour == 2


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_a_page_has_its_bounds(limit):
    with pytest.raises(ValueError, match="1 to 1000"):
        list_query("", limit=limit)


def test_errors_are_found_in_both_forms():
    for body in (
        b"<Error><Code>A</Code><Message>m\x01</Message></Error>",
        b'<ErrorResponse xmlns="x"><Error><Code>A</Code></Error></ErrorResponse>',
    ):
        found = parse_error(body)
        assert found is not None
        assert found.code == "A"
    assert parse_error(b"<html/>") is None


def test_a_document_type_is_refused_even_when_it_is_harmless():
    with pytest.raises(StoreAnswerInvalid, match="document type"):
        parse_xml(b"<!DOCTYPE a><a/>")
