"""``landbridge-credentials``: a ``credential_process`` of AWS's configuration.

For a profile of one's own, beside others in ``~/.aws/config``::

    [profile gateway]
    credential_process = landbridge-credentials
"""

from __future__ import annotations

import json
import sys

from ._http import ask
from .errors import LandbridgeError


def main() -> int:
    """Print keys as the SDKs want them from a process; return the exit code."""
    try:
        keys = dict(ask("credentials"))
    except LandbridgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    keys["SessionToken"] = keys.pop("Token")
    sys.stdout.write(json.dumps({"Version": 1, **keys}) + "\n")
    return 0
