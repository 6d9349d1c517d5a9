"""The same listing by what peers of the gateway do in their servers.

``jupyter-fs`` and ``jupyterlab-bucket-explorer`` (PyPI) list a whole folder before
they answer anything, so their first page comes with the last. Runs in an environment
of its own, named to ``storage_listing.py --peers PYTHON``, and says the same facts.
"""

from __future__ import annotations

import json
import resource
import sys
import time


def jupyter_fs(endpoint: str, access: str, secret: str, folder: str) -> int:
    """What its contents manager does for a directory."""
    from jupyterfs.manager.fsspec import FSSpecManager

    manager = FSSpecManager(
        f"s3://{folder}",
        key=access,
        secret=secret,
        client_kwargs={"endpoint_url": endpoint, "region_name": "us-east-1"},
    )
    return len(manager.get("")["content"])


def bucket_explorer(endpoint: str, access: str, secret: str, folder: str) -> int:
    """What its handler for a folder does."""
    from jupyterlab_bucket_explorer.providers import ConnectionConfig, S3Provider

    where = {"url": endpoint, "accessKey": access, "secretKey": secret}
    provider = S3Provider(ConnectionConfig.from_dict(where | {"region": "us-east-1"}))
    bucket, _, prefix = folder.partition("/")
    return len(provider.list_objects(bucket, prefix))


PEERS = {"jupyter-fs": jupyter_fs, "bucket-explorer": bucket_explorer}


def main() -> None:
    """Read what to list from standard input, list it, print the facts."""
    endpoint, access, secret, folder = json.load(sys.stdin)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    before = usage.ru_utime + usage.ru_stime
    began = time.perf_counter()
    count = PEERS[sys.argv[1]](endpoint, access, secret, folder)
    whole = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    facts = {"first": whole, "whole": whole, "count": count}
    facts["memory"] = usage.ru_maxrss / 1024
    facts["cpu"] = usage.ru_utime + usage.ru_stime - before
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
