"""Libraries that are there or not, and what is said where they are not."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any  # modules that may not be there have no types

from .errors import PackageMissing

if TYPE_CHECKING:
    from .storage import Credentials


def library(name: str, package: str = "", *, optional: bool = False) -> Any:
    """Return a module.

    Args:
        name: of the module.
        package: what to install for it, if that is called otherwise.
        optional: return ``None`` where it is not installed.

    Raises:
        PackageMissing: it is not installed, and how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if optional:
            return None
        package = package or name
        raise PackageMissing(
            f"This needs {package}, which is not installed in this kernel's "
            f"environment. Run: %pip install {package}",
            name=name,
        ) from error


def aws_refresh(fetch: Callable[[], Credentials]) -> Any:
    """Return botocore credentials that call ``fetch`` whenever they are due."""

    def metadata() -> dict[str, str]:
        keys = fetch()
        return {
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "token": keys.token,
            "expiry_time": keys.expires.isoformat(),
        }

    module = library("botocore.credentials", "boto3")
    return module.RefreshableCredentials.create_from_metadata(
        metadata=metadata(), refresh_using=metadata, method="landbridge"
    )
