"""The storage service in one table: every call, its scope and its models."""

from __future__ import annotations

from services.common.errors import ErrorTable
from services.common.spec import Nothing, Route, ServiceSpec
from spawners.batch.errors import StoreIncompatible as DatabaseIncompatible
from spawners.batch.errors import StoreUnavailable as DatabaseUnavailable

from . import errors as e
from . import handlers as h
from . import models as m
from . import models_sharing as ms
from .settings import NAME

READ = "custom:storage:read"
WRITE = "custom:storage:write"
SHARE = "custom:storage:share"

ERRORS: ErrorTable = {
    e.StorageError: (502, "store-refused"),
    e.StoreUnavailable: (503, "store-unavailable"),
    e.StoreBusy: (503, "store-busy"),
    e.StoreAnswerInvalid: (502, "store-invalid"),
    e.ClockSkewed: (502, "store-clock"),
    e.AccessDenied: (403, "store-denied"),
    e.NotFound: (404, "not-found"),
    e.Conflict: (409, "conflict"),
    e.PreconditionFailed: (412, "changed"),
    e.ChecksumMismatch: (400, "checksum"),
    e.QuotaExceeded: (403, "quota"),
    e.StoreFull: (507, "store-full"),
    e.KeyRefused: (400, "key-refused"),
    e.GrantRefused: (400, "grant-refused"),
    e.NotSupported: (501, "not-supported"),
    DatabaseUnavailable: (503, "database-unavailable"),
    DatabaseIncompatible: (503, "database-unavailable"),
}

_BUCKETS = (
    Route("GET", "me", h.show_me, "Who asks, and what there is", READ, m.Me),
    Route("GET", "buckets", h.list_buckets, "List buckets", READ, m.Buckets),
    Route(
        "POST",
        "buckets",
        h.create_bucket,
        "Create a bucket",
        WRITE,
        m.Bucket,
        body=m.NewBucket,
        status=201,
    ),
    Route(
        "DELETE",
        "buckets/{bucket}",
        h.delete_bucket,
        "Delete an empty bucket",
        WRITE,
        Nothing,
    ),
    Route(
        "GET",
        "buckets/{bucket}/usage",
        h.measure_bucket,
        "Tell what a bucket holds",
        READ,
        m.Usage,
    ),
)
_OBJECTS = (
    Route(
        "GET",
        "objects",
        h.list_objects,
        "List one page of objects",
        READ,
        m.Page,
        query=m.ListQuery,
    ),
    Route(
        "GET",
        "objects/head",
        h.head_object,
        "Tell the facts of an object",
        READ,
        m.Head,
        query=m.ObjectQuery,
    ),
    Route(
        "GET",
        "objects/versions",
        h.list_versions,
        "List one page of versions",
        READ,
        m.Versions,
        query=m.VersionsQuery,
    ),
    Route(
        "GET",
        "objects/tags",
        h.show_tags,
        "Tell the tags of an object",
        READ,
        m.Tags,
        query=m.ObjectQuery,
    ),
    Route(
        "PUT",
        "objects/tags",
        h.set_tags,
        "Set the tags of an object",
        WRITE,
        m.Tags,
        body=m.NewTags,
    ),
    Route(
        "POST",
        "objects/count",
        h.count_objects,
        "Count objects and bytes; changes nothing",
        READ,
        m.Count,
        body=m.Selection,
    ),
)
_AUDIT = (
    Route(
        "GET",
        "audit",
        h.list_audit,
        "List what was done",
        READ,
        ms.AuditList,
        query=ms.AuditQuery,
    ),
)

SPEC = ServiceSpec(
    name=NAME,
    title="Landbridge storage",
    description="Buckets and objects of any S3 store, and keys that expire.",
    routes=(*_BUCKETS, *_OBJECTS, *_AUDIT),
    errors=ERRORS,
)
