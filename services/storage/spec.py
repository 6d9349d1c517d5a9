"""The storage service in one table: every call, what does it, and its scope."""

from __future__ import annotations

from services.common.web.errors import ErrorTable
from services.common.web.routes import Route, ServiceSpec
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
)
from .registration import READ, SHARE, WRITE
from .s3 import errors
from .service import Storage
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

ROUTES: tuple[Route[Storage], ...] = (
    Route("GET", "me", buckets.show_me, READ),
    Route("GET", "buckets", buckets.list_buckets, READ),
    Route("POST", "buckets", buckets.create_bucket, WRITE, status=201),
    Route("DELETE", "buckets/{bucket}", buckets.delete_bucket, WRITE),
    Route("GET", "buckets/{bucket}/usage", buckets.measure_bucket, READ),
    Route("GET", "objects", objects.list_objects, READ),
    Route("GET", "objects/head", objects.head_object, READ),
    Route("GET", "objects/versions", objects.list_versions, READ),
    Route("GET", "objects/tags", objects.show_tags, READ),
    Route("PUT", "objects/tags", objects.set_tags, WRITE),
    Route("POST", "objects/restore", objects.restore_object, WRITE),
    Route("POST", "objects/count", objects.count_objects, READ),
    Route("POST", "objects/delete", objects.delete_objects, WRITE),
    Route("GET", "tasks", tasks.list_tasks, READ),
    Route("POST", "tasks", tasks.begin_task, WRITE, status=202),
    Route("GET", "tasks/{id}", tasks.show_task, READ),
    Route("POST", "tasks/{id}/cancel", tasks.cancel_task, WRITE),
    Route("POST", "urls/download", downloads.sign_download, READ),
    Route("POST", "urls/upload", uploads.sign_upload, WRITE),
    Route("GET", "uploads", uploads.list_uploads, WRITE),
    Route("POST", "uploads", uploads.begin_upload, WRITE, status=201),
    Route("POST", "uploads/urls", uploads.sign_parts, WRITE),
    Route("GET", "uploads/parts", uploads.list_parts, WRITE),
    Route("POST", "uploads/complete", uploads.complete_upload, WRITE),
    Route("POST", "uploads/abort", uploads.abort_upload, WRITE),
    Route("GET", "credentials", credentials.list_credentials, READ),
    Route("POST", "credentials", credentials.issue_credentials, READ, status=201),
    Route("GET", "credentials/{id}", credentials.show_credentials, READ),
    Route("DELETE", "credentials/{id}", credentials.revoke_credentials, READ),
    Route("GET", "key", own_key.show_key, READ),
    Route("PUT", "key", own_key.keep_key, WRITE),
    Route("DELETE", "key", own_key.forget_key, WRITE),
    Route("GET", "shares", sharing.list_shares, READ),
    Route("POST", "shares", sharing.create_share, SHARE, status=201),
    Route("DELETE", "shares/{id}", sharing.end_share, SHARE),
    Route("GET", "links", sharing.list_links, READ),
    Route("POST", "links", sharing.create_link, SHARE, status=201),
    Route("DELETE", "links/{id}", sharing.end_link, SHARE),
    Route("GET", "audit", audit.list_audit, READ),
)

SPEC: ServiceSpec[Storage] = ServiceSpec(
    name=NAME,
    title="Landbridge storage",
    description="Buckets and objects of any S3 store, and keys that expire.",
    routes=ROUTES,
    errors=ERRORS,
)
