"""The storage service in one table: every call, its scope and its models."""

from __future__ import annotations

from services.common.errors import ErrorTable
from services.common.spec import Nothing, Route, ServiceSpec
from spawners.common.errors import DatabaseIncompatible, DatabaseUnavailable

from .api import buckets as h
from .api import models as m
from .api import models_sharing as ms
from .api import models_transfers as mt
from .api import own_key as k
from .api import sharing as sh
from .api import transfers as tr
from .s3 import errors as e
from .settings import NAME

READ = "custom:storage:read"
WRITE = "custom:storage:write"
SHARE = "custom:storage:share"

ERRORS: ErrorTable = {
    e.StorageError: (502, "store-error"),
    e.StoreUnavailable: (503, "store-unavailable"),
    e.StoreBusy: (503, "store-busy"),
    e.StoreAnswerInvalid: (502, "store-invalid"),
    e.ClockSkewed: (502, "store-clock"),
    e.AccessDenied: (403, "store-denied"),
    e.KeyNeeded: (403, "key-needed"),
    e.NotFound: (404, "not-found"),
    e.Conflict: (409, "conflict"),
    e.PreconditionFailed: (412, "changed"),
    e.ChecksumMismatch: (400, "checksum"),
    e.QuotaExceeded: (403, "quota"),
    e.StoreFull: (507, "store-full"),
    e.KeyRefused: (400, "key-refused"),
    e.GrantRefused: (400, "grant-refused"),
    e.NotSupported: (501, "not-supported"),
    e.RequestRefused: (400, "store-refused"),
    DatabaseUnavailable: (503, "database-unavailable"),
    DatabaseIncompatible: (503, "database-unavailable"),
}

_BUCKETS = (
    Route("GET", "me", h.show_me, READ, m.Me),
    Route("GET", "buckets", h.list_buckets, READ, m.Buckets),
    Route(
        "POST",
        "buckets",
        h.create_bucket,
        WRITE,
        m.Bucket,
        body=m.NewBucket,
        status=201,
    ),
    Route("DELETE", "buckets/{bucket}", h.delete_bucket, WRITE, Nothing),
    Route("GET", "buckets/{bucket}/usage", h.measure_bucket, READ, m.Usage),
)
_OBJECTS = (
    Route("GET", "objects", h.list_objects, READ, m.Page, query=m.ListQuery),
    Route("GET", "objects/head", h.head_object, READ, m.Head, query=m.ObjectQuery),
    Route(
        "GET",
        "objects/versions",
        h.list_versions,
        READ,
        m.Versions,
        query=m.VersionsQuery,
    ),
    Route("GET", "objects/tags", h.show_tags, READ, m.Tags, query=m.ObjectQuery),
    Route("PUT", "objects/tags", h.set_tags, WRITE, m.Tags, body=m.NewTags),
    Route(
        "POST",
        "objects/restore",
        tr.restore_object,
        WRITE,
        mt.Stored,
        body=mt.VersionToRestore,
    ),
    Route("POST", "objects/count", h.count_objects, READ, m.Count, body=m.Selection),
    Route(
        "POST",
        "objects/delete",
        tr.delete_objects,
        WRITE,
        m.Deleted,
        body=m.KeysToDelete,
    ),
)
_TASKS = (
    Route("GET", "tasks", sh.list_tasks, READ, m.TaskList),
    Route(
        "POST", "tasks", sh.begin_task, WRITE, m.TaskAnswer, body=m.NewTask, status=202
    ),
    Route("GET", "tasks/{id}", sh.show_task, READ, m.TaskAnswer),
    Route("POST", "tasks/{id}/cancel", sh.cancel_task, WRITE, m.TaskAnswer),
)
_TRANSFERS = (
    Route("POST", "urls/download", tr.sign_download, READ, mt.Url, body=mt.DownloadUrl),
    Route("POST", "urls/upload", tr.sign_upload, WRITE, mt.Url, body=mt.UploadUrl),
    Route(
        "GET", "uploads", tr.list_uploads, WRITE, mt.UploadList, query=mt.UploadsQuery
    ),
    Route(
        "POST",
        "uploads",
        tr.begin_upload,
        WRITE,
        mt.UploadStart,
        body=mt.NewUpload,
        status=201,
    ),
    Route(
        "POST", "uploads/urls", tr.sign_parts, WRITE, mt.PartUrls, body=mt.PartsToSign
    ),
    Route("GET", "uploads/parts", tr.list_parts, WRITE, mt.Parts, query=mt.UploadQuery),
    Route(
        "POST",
        "uploads/complete",
        tr.complete_upload,
        WRITE,
        mt.Stored,
        body=mt.UploadEnd,
    ),
    Route(
        "POST", "uploads/abort", tr.abort_upload, WRITE, Nothing, body=mt.UploadQuery
    ),
)
_SHARING = (
    Route("GET", "credentials", sh.list_credentials, READ, ms.CredentialList),
    Route(
        "POST",
        "credentials",
        sh.issue_credentials,
        READ,
        ms.Credentials,
        body=ms.NewCredentials,
        status=201,
    ),
    Route("GET", "credentials/{id}", sh.show_credentials, READ, ms.CredentialState),
    Route("DELETE", "credentials/{id}", sh.revoke_credentials, READ, Nothing),
    Route("GET", "key", k.show_key, READ, ms.KeyFact),
    Route("PUT", "key", k.keep_key, WRITE, ms.KeyFact, body=ms.NewKey),
    Route("DELETE", "key", k.forget_key, WRITE, Nothing),
    Route("GET", "shares", sh.list_shares, READ, ms.ShareList),
    Route(
        "POST",
        "shares",
        sh.create_share,
        SHARE,
        ms.ShareFact,
        body=ms.NewShare,
        status=201,
    ),
    Route("DELETE", "shares/{id}", sh.end_share, SHARE, Nothing),
    Route("GET", "links", sh.list_links, READ, ms.LinkList),
    Route(
        "POST", "links", sh.create_link, SHARE, ms.LinkFact, body=ms.NewLink, status=201
    ),
    Route("DELETE", "links/{id}", sh.end_link, SHARE, Nothing),
    Route("GET", "audit", h.list_audit, READ, ms.AuditList, query=ms.AuditQuery),
)

SPEC = ServiceSpec(
    name=NAME,
    title="Landbridge storage",
    description="Buckets and objects of any S3 store, and keys that expire.",
    routes=(*_BUCKETS, *_OBJECTS, *_TASKS, *_TRANSFERS, *_SHARING),
    errors=ERRORS,
)
