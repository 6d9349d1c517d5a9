"""The variables by which stock S3 clients find their keys and their endpoint.

Set B of what was tried: with these, boto3, s3fs, pandas, polars, obstore, zarr,
lance, deltalake, mlflow and ``aws s3`` need no arguments. rclone (1.60) does not know
token files: its remote ``s3:`` has a profile of its own, which no other program reads.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..gateway.storage import Place

# Whoever sets one of these talks to a store of his own choice.
OWN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
URL = "LANDBRIDGE_STORAGE_URL"
TOKEN_FILE = "LANDBRIDGE_STORAGE_TOKEN_FILE"  # noqa: S105 - a variable's name
_REMOTE = "RCLONE_CONFIG_S3_"


@dataclass(frozen=True, slots=True)
class Local:
    """The loopback address: its URL, the token's file, rclone's profile."""

    url: str
    token_file: str
    rclone_file: str


def kernel_variables(
    place: Place, local: Local, own: Mapping[str, str], home: Path
) -> dict[str, str]:
    """Return what is to be set, beside what the user has set.

    Args:
        place: where S3 is.
        local: where its keys are.
        own: the variables that are set already; they stay as they are.
        home: the user's home, whose AWS profile counts as the user's own choice.
    """
    variables = {URL: local.url, TOKEN_FILE: local.token_file}
    if not any(own.get(name) for name in OWN) and not has_profile(home):
        variables |= {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": local.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": local.token_file,
            "AWS_ENDPOINT_URL_S3": place.endpoint,
            "AWS_ENDPOINT_URL": place.endpoint,
            "AWS_REGION": place.region,
            "AWS_DEFAULT_REGION": place.region,
        }
        if place.endpoint.startswith("http:"):
            variables["AWS_ALLOW_HTTP"] = "true"
    if not any(name.startswith(_REMOTE) for name in own):
        variables |= {
            f"{_REMOTE}TYPE": "s3",
            f"{_REMOTE}PROVIDER": "Other",
            f"{_REMOTE}ENV_AUTH": "true",
            f"{_REMOTE}ENDPOINT": place.endpoint,
            f"{_REMOTE}REGION": place.region,
            # Else it makes each bucket before it writes, which nobody here may.
            f"{_REMOTE}NO_CHECK_BUCKET": "true",
            f"{_REMOTE}PROFILE": "default",
            f"{_REMOTE}SHARED_CREDENTIALS_FILE": local.rclone_file,
        }
    return {name: value for name, value in variables.items() if not own.get(name)}


def has_profile(home: Path) -> bool:
    """Whether the home directory has a default profile of AWS's with settings."""
    for name in ("credentials", "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(home / ".aws" / name, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            return True  # there is one; what it says is not ours to judge
        if parser.has_section("default") and parser.options("default"):
            return True
    return False
