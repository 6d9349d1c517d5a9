"""What a notebook on a Landbridge gateway imports.

::

    from landbridge import storage

    storage.buckets()                       # what you may use, and why
    storage.store("my-bucket")              # an obstore store whose keys renew
    storage.duckdb(connection)              # s3:// in DuckDB's SQL

Most S3 clients need none of it: ``boto3``, ``s3fs``, pandas, polars, ``obstore``,
zarr, lance, deltalake and mlflow find their keys by themselves.
"""

from . import jobs, storage
from .errors import (
    LandbridgeError,
    NotOnGateway,
    PackageMissing,
    StorageRefused,
    StorageUnavailable,
)
from .jobs import on_time_limit

__all__ = [
    "LandbridgeError",
    "NotOnGateway",
    "PackageMissing",
    "StorageRefused",
    "StorageUnavailable",
    "jobs",
    "on_time_limit",
    "storage",
]
