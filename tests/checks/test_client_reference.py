"""The client's reference says what the code does."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import landbridge
from landbridge import errors, storage
from landbridge_lab.gateway.storage import Place
from landbridge_lab.keys.variables import OWN, Local, kernel_variables
from rigs.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "reference" / "client.md").read_text()
FUNCTIONS = [name for name in storage.__all__ if name[0].islower()]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_heading_and_its_meaning(name: str) -> None:
    function = getattr(storage, name)
    parameters = inspect.signature(function).parameters.values()
    shown = ", ".join(
        str(p.replace(annotation=p.empty, default=p.empty)) for p in parameters
    )
    assert f"### `storage.{name}({shown})`" in PAGE
    meaning = re.sub(r":func:", "", inspect.getdoc(function).partition("\n")[0])
    meaning = meaning.replace("``", "`").replace(
        "`fsspec_options`", "`fsspec_options()`"
    )
    assert meaning in PAGE


def test_every_heading_is_a_function() -> None:
    assert sorted(re.findall(r"### `storage\.(\w+)\(", PAGE)) == sorted(FUNCTIONS)


def test_every_error_is_told_and_public() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.LandbridgeError):
            assert name in landbridge.__all__
            assert f"`{name}`" in PAGE or f"`landbridge.{name}`" in PAGE


def test_every_variable_is_told(tmp_path: Path) -> None:
    place = Place("http://127.0.0.1:1", "us-east-1", "ada")
    found = kernel_variables(place, Local("u", "t", "r"), {}, tmp_path)
    for name in [*found, *OWN]:
        shown = "RCLONE_CONFIG_S3_*" if name.startswith("RCLONE_") else name
        assert f"`{shown}`" in PAGE, name


def test_extras_and_programs_are_told() -> None:
    project = tomllib.loads(
        (CHECKOUT / "extensions" / "client" / "pyproject.toml").read_text()
    )["project"]
    for name in [*project["optional-dependencies"], *project["scripts"]]:
        assert f"`{name}`" in PAGE, name
