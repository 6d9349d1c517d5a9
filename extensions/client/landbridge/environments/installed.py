"""What is installed for this interpreter, and of what kind each package is.

Sources: the core metadata specifications' "Recording installed projects" (``RECORD``,
``INSTALLER``) and "Direct URL" (``direct_url.json``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .problems import CannotTake


@dataclass(frozen=True)
class Package:
    """One installed package.

    Attributes:
        name: as PEP 503 spells it.
        version: its version.
        editable: the folder of its sources, if it runs from there.
        distribution: its files and metadata.
    """

    name: str
    version: str
    editable: Path | None
    distribution: Distribution


def find_packages(paths: Iterable[str] | None = None) -> list[Package]:
    """All packages that this interpreter sees, each once, by name.

    Args:
        paths: folders to look in; by default all that are imported from.

    Raises:
        CannotTake: this is an environment of conda, whose packages rest on libraries
            that no wheel holds.
    """
    if paths is None and (Path(sys.prefix) / "conda-meta").is_dir():
        raise CannotTake(
            f"{sys.prefix} is an environment of conda. Its packages rest on libraries "
            "outside of Python, so it cannot be packed as wheels. Use it where it is, "
            "if the nodes see it under the same path."
        )
    seen: dict[str, Package] = {}
    found = distributions() if paths is None else distributions(path=list(paths))
    for distribution in found:
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        # The first on the path is the one that is imported.
        if name and name not in seen:
            editable = _editable(distribution)
            seen[name] = Package(name, distribution.version, editable, distribution)
    return [seen[name] for name in sorted(seen)]


def _editable(distribution: Distribution) -> Path | None:
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    try:
        document = json.loads(text)
        is_editable = document.get("dir_info", {}).get("editable", False)
        url = urlsplit(document["url"])
    except (ValueError, KeyError, AttributeError):
        return None
    return Path(unquote(url.path)) if is_editable and url.scheme == "file" else None
