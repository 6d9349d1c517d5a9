"""Prints this user's S3 keys as a ``credential_process`` of AWS's configuration does.

Run by its path, ``credential_process.py URL TOKEN_FILE``, by programs that do not know
the container-credentials protocol. Standard library only.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

_PATIENCE_SECONDS = 60


def main(arguments: list[str]) -> int:
    """Print the keys; return the exit code."""
    url, token_file = arguments
    # Loopback is never behind a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        token = Path(token_file).read_text(encoding="ascii")
        request = urllib.request.Request(  # noqa: S310 - loopback
            url, headers={"Authorization": token}
        )
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            keys = json.load(answer)
    except urllib.error.HTTPError as error:
        sys.stderr.write(error.read().decode(errors="replace"))
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"Keys cannot be had from the notebook server: {error}\n")
        return 1
    keys["SessionToken"] = keys.pop("Token")
    sys.stdout.write(json.dumps({"Version": 1, **keys}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
