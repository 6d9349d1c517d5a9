"""The hub: JupyterHub assembled from a site's settings, its proxy and its pages."""

import sys
from typing import Any

# JupyterHub's events import jsonschema, which imports this to check IRIs and so builds
# 38 grammars: 1.5 s of each start of a hub, and no schema of its events has an IRI.
# Without it jsonschema checks all other formats.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("rfc3987_syntax", None)
