"""Asks the notebook server's loopback address.

The server keeps one set of short-lived keys and gives them to its own user's
programs, which prove themselves by the text of a file that only the user can read::

    GET URL                      {"AccessKeyId", "SecretAccessKey", "Token",
                                  "Expiration"}, as AWS's container credentials
    GET URL?bucket=B&prefix=P&mode=read
                                 the same, for only that
    GET URL?renew=1              the same, for all that the user may by now
    GET URL?use=B&prefix=P       for all, or for only that where those leave it out
    GET URL/../storage           {"endpoint", "region", "bucket"}
    GET URL/../buckets           {"buckets": [...]} as the storage service has it

Errors are a line of plain text.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # JSON

from .errors import NotOnGateway, StorageRefused, StorageUnavailable

_PATIENCE_SECONDS = 60
_BAD_GATEWAY = 502
_VARIABLES = (
    ("LANDBRIDGE_STORAGE_URL", "LANDBRIDGE_STORAGE_TOKEN_FILE"),
    # A kernel in a job of its own has only these.
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
)


def address() -> tuple[str, Path]:
    """Return the URL of the keys and the token's file.

    Raises:
        NotOnGateway: nobody told this process.
    """
    for url_name, file_name in _VARIABLES:
        url, file = os.environ.get(url_name), os.environ.get(file_name)
        if url and file:
            return url, Path(file)
    raise NotOnGateway(
        "This program was not started by a notebook server with storage: "
        f"{_VARIABLES[0][0]} is not set. Run it in a notebook or terminal of the "
        "gateway; if this is one, restart the kernel."
    )


def ask(path: str, **query: str) -> Mapping[str, Any]:
    """Return what the loopback address answers for ``path``.

    Args:
        path: ``credentials``, ``storage`` or ``buckets``.
        query: empty values are left out.

    Raises:
        NotOnGateway: there is no such address.
        StorageUnavailable: it does not answer, or what is behind it does not.
        StorageRefused: it says no.
    """
    url, file = address()
    url = urllib.parse.urljoin(url, path)
    given = {name: value for name, value in query.items() if value}
    if given:
        url += "?" + urllib.parse.urlencode(given)
    # Loopback is never behind a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        token = file.read_text(encoding="ascii")
        request = urllib.request.Request(  # noqa: S310 - loopback
            url, headers={"Authorization": token}
        )
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        words = error.read().decode(errors="replace").strip() or str(error)
        if error.code >= _BAD_GATEWAY:
            raise StorageUnavailable(words) from None
        raise StorageRefused(words, error.code) from None
    except (OSError, ValueError) as error:
        raise StorageUnavailable(
            f"The notebook server does not give keys ({error}). If it was stopped, "
            "start it again and restart this kernel."
        ) from error
    if not isinstance(document, dict):
        raise StorageUnavailable("The notebook server answered what nobody expected.")
    return document
