"""Empty folders, which SeaweedFS goes on listing when all objects in them are gone.

It keeps folders of its own and removes empty ones after a while. Who has deleted or
moved a whole prefix shall not see it until then. A folder that is not empty, or is
written to meanwhile, stays: the store refuses to delete it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..s3.client import S3Client
from ..s3.object_names import KeyRules

_MOST = 500  # the store removes the others itself


async def remove_empty(
    client: S3Client, keys: KeyRules, bucket: str, prefixes: Sequence[str]
) -> None:
    """Remove what folders are left under prefixes, if the store has any.

    Args:
        client: signed by a key that may list and delete there.
        keys: the store's rules, which tell whether it has folders.
        bucket: where they are; one that has kept versions keeps its folders.
        prefixes: of which no object is left.

    Raises:
        StorageError: it did not work; what is left is empty.
    """
    if not (prefixes and keys.has_folders) or await client.buckets.versioning(bucket):
        return
    folders, ahead = (
        [prefix for prefix in prefixes if prefix.endswith("/")],
        [*prefixes],
    )
    while ahead and len(folders) < _MOST:
        page = await client.list(bucket, ahead.pop(), delimiter="/")
        folders += page.prefixes
        ahead += page.prefixes
    for folder in sorted(folders, key=len, reverse=True):
        await client.delete(bucket, folder)
