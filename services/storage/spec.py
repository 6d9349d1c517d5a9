"""The storage service in one table: every call, its scope and its models."""

from __future__ import annotations

from services.common.errors import ErrorTable
from services.common.spec import Nothing, Route, ServiceSpec
from spawners.common.errors import DatabaseIncompatible, DatabaseUnavailable

from .api import (
    audit,
    buckets,
    credentials,
    downloads,
    objects,
    own_key,
    sharing,
    tasks,
    uploads,
    urls,
)
from .api.scopes import READ, SHARE, WRITE
from .s3 import errors
from .settings import NAME

ERRORS: ErrorTable = {
    errors.StorageError: (502, "store-error"),
    errors.StoreUnavailable: (503, "store-unavailable"),
    errors.StoreBusy: (503, "store-busy"),
    errors.StoreAnswerInvalid: (502, "store-invalid"),
    errors.ClockSkewed: (502, "store-clock"),
    errors.AccessDenied: (403, "store-denied"),
    errors.KeyNeeded: (403, "key-needed"),
    errors.NotFound: (404, "not-found"),
    errors.Conflict: (409, "conflict"),
    errors.PreconditionFailed: (412, "changed"),
    errors.ChecksumMismatch: (400, "checksum"),
    errors.QuotaExceeded: (403, "quota"),
    errors.StoreFull: (507, "store-full"),
    errors.KeyRefused: (400, "key-refused"),
    errors.GrantRefused: (400, "grant-refused"),
    errors.NotSupported: (501, "not-supported"),
    errors.RequestRefused: (400, "store-refused"),
    DatabaseUnavailable: (503, "database-unavailable"),
    DatabaseIncompatible: (503, "database-unavailable"),
}

_BUCKETS = (
    Route("GET", "me", buckets.show_me, READ, buckets.Me),
    Route("GET", "buckets", buckets.list_buckets, READ, buckets.Buckets),
    Route(
        "POST",
        "buckets",
        buckets.create_bucket,
        WRITE,
        buckets.Bucket,
        body=buckets.NewBucket,
        status=201,
    ),
    Route("DELETE", "buckets/{bucket}", buckets.delete_bucket, WRITE, Nothing),
    Route("GET", "buckets/{bucket}/usage", buckets.measure_bucket, READ, buckets.Usage),
)
_OBJECTS = (
    Route(
        "GET",
        "objects",
        objects.list_objects,
        READ,
        objects.Page,
        query=objects.ListQuery,
    ),
    Route(
        "GET",
        "objects/head",
        objects.head_object,
        READ,
        objects.Head,
        query=objects.ObjectQuery,
    ),
    Route(
        "GET",
        "objects/versions",
        objects.list_versions,
        READ,
        objects.Versions,
        query=objects.VersionsQuery,
    ),
    Route(
        "GET",
        "objects/tags",
        objects.show_tags,
        READ,
        objects.Tags,
        query=objects.ObjectQuery,
    ),
    Route(
        "PUT",
        "objects/tags",
        objects.set_tags,
        WRITE,
        objects.Tags,
        body=objects.NewTags,
    ),
    Route(
        "POST",
        "objects/restore",
        objects.restore_object,
        WRITE,
        objects.Stored,
        body=objects.VersionToRestore,
    ),
    Route(
        "POST",
        "objects/count",
        objects.count_objects,
        READ,
        objects.Count,
        body=objects.Selection,
    ),
    Route(
        "POST",
        "objects/delete",
        objects.delete_objects,
        WRITE,
        objects.Deleted,
        body=objects.KeysToDelete,
    ),
)
_TASKS = (
    Route("GET", "tasks", tasks.list_tasks, READ, tasks.TaskList),
    Route(
        "POST",
        "tasks",
        tasks.begin_task,
        WRITE,
        tasks.TaskAnswer,
        body=tasks.NewTask,
        status=202,
    ),
    Route("GET", "tasks/{id}", tasks.show_task, READ, tasks.TaskAnswer),
    Route("POST", "tasks/{id}/cancel", tasks.cancel_task, WRITE, tasks.TaskAnswer),
)
_TRANSFERS = (
    Route(
        "POST",
        "urls/download",
        downloads.sign_download,
        READ,
        urls.Url,
        body=downloads.DownloadUrl,
    ),
    Route(
        "POST",
        "urls/upload",
        uploads.sign_upload,
        WRITE,
        urls.Url,
        body=uploads.UploadUrl,
    ),
    Route(
        "GET",
        "uploads",
        uploads.list_uploads,
        WRITE,
        uploads.UploadList,
        query=uploads.UploadsQuery,
    ),
    Route(
        "POST",
        "uploads",
        uploads.begin_upload,
        WRITE,
        uploads.UploadStart,
        body=uploads.NewUpload,
        status=201,
    ),
    Route(
        "POST",
        "uploads/urls",
        uploads.sign_parts,
        WRITE,
        uploads.PartUrls,
        body=uploads.PartsToSign,
    ),
    Route(
        "GET",
        "uploads/parts",
        uploads.list_parts,
        WRITE,
        uploads.Parts,
        query=uploads.UploadQuery,
    ),
    Route(
        "POST",
        "uploads/complete",
        uploads.complete_upload,
        WRITE,
        objects.Stored,
        body=uploads.UploadEnd,
    ),
    Route(
        "POST",
        "uploads/abort",
        uploads.abort_upload,
        WRITE,
        Nothing,
        body=uploads.UploadQuery,
    ),
)
_SHARING = (
    Route(
        "GET",
        "credentials",
        credentials.list_credentials,
        READ,
        credentials.CredentialList,
    ),
    Route(
        "POST",
        "credentials",
        credentials.issue_credentials,
        READ,
        credentials.Credentials,
        body=credentials.NewCredentials,
        status=201,
    ),
    Route(
        "GET",
        "credentials/{id}",
        credentials.show_credentials,
        READ,
        credentials.CredentialState,
    ),
    Route("DELETE", "credentials/{id}", credentials.revoke_credentials, READ, Nothing),
    Route("GET", "key", own_key.show_key, READ, own_key.KeyFact),
    Route("PUT", "key", own_key.keep_key, WRITE, own_key.KeyFact, body=own_key.NewKey),
    Route("DELETE", "key", own_key.forget_key, WRITE, Nothing),
    Route("GET", "shares", sharing.list_shares, READ, sharing.ShareList),
    Route(
        "POST",
        "shares",
        sharing.create_share,
        SHARE,
        sharing.ShareFact,
        body=sharing.NewShare,
        status=201,
    ),
    Route("DELETE", "shares/{id}", sharing.end_share, SHARE, Nothing),
    Route("GET", "links", sharing.list_links, READ, sharing.LinkList),
    Route(
        "POST",
        "links",
        sharing.create_link,
        SHARE,
        sharing.LinkFact,
        body=sharing.NewLink,
        status=201,
    ),
    Route("DELETE", "links/{id}", sharing.end_link, SHARE, Nothing),
    Route(
        "GET", "audit", audit.list_audit, READ, audit.AuditList, query=audit.AuditQuery
    ),
)

SPEC = ServiceSpec(
    name=NAME,
    title="Landbridge storage",
    description="Buckets and objects of any S3 store, and keys that expire.",
    routes=(*_BUCKETS, *_OBJECTS, *_TASKS, *_TRANSFERS, *_SHARING),
    errors=ERRORS,
)
