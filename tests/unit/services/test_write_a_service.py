"""docs/howto/write-a-service.md, followed literally: its blocks are the service."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import services
from rigs.checkout import CHECKOUT
from services.common.web.openapi import document
from services.common.web.reference import api_page

PAGE = CHECKOUT / "docs" / "howto" / "write-a-service.md"
FILE = re.compile(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
REGISTRY = "hub/registry.py"
MOST_LINES = 150

# What the hub makes of its registry, with the lines of the page behind it.
HUB = """
import json, os, sys
import services
services.__path__.append(sys.argv[1])
import hub.registry
exec(sys.argv[2], vars(hub.registry))
from traitlets.config import Config
from hub.assemble import assemble
from hub.cli import COMMANDS
from hub.config.settings import load_settings
from hub.config.site import detect
from hub.edge import edge_config
from hub.reference import PAGES
from hub.run.processes import process_spec
settings = load_settings(os.environ)
site = detect(settings)
c = Config()
assemble(c, settings, site)
print(json.dumps({
    "roles": {role["name"]: role["scopes"] for role in c.JupyterHub.load_roles},
    "edge": dict(edge_config(settings, site)().services),
    "commands": list(COMMANDS),
    "module": process_spec(settings, "sleepers").command[-1],
    "navigation": json.loads(
        process_spec(settings, "sleepers").environment["LANDBRIDGE_NAVIGATION"]
    ),
    "reference": PAGES["docs/reference/sleepers-api.md"](),
    "settings": PAGES["docs/reference/settings.md"](),
}))
"""


def blocks() -> dict[str, str]:
    """The files of the page, by their paths."""
    return dict(FILE.findall(PAGE.read_text()))


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """The page's files, in a directory that is searched for services, too."""
    for name, text in blocks().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "services" / "sleepers" / "__init__.py").touch()
    folder = str(tmp_path / "services")
    services.__path__.append(folder)
    importlib.invalidate_caches()
    yield tmp_path
    services.__path__.remove(folder)
    for name in [name for name in sys.modules if name.startswith("services.sleepers")]:
        del sys.modules[name]
    vars(services).pop("sleepers", None)


async def test_its_own_test_passes(written: Path) -> None:
    (name,) = [name for name in blocks() if name.startswith("test_")]
    spec = importlib.util.spec_from_file_location("test_of_the_page", written / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    await module.test_sleepers_come_and_go(written / "state")


def test_it_is_short_and_changes_one_file_of_others() -> None:
    files = blocks()
    ours = [name for name in files if name.startswith("services/sleepers/")]
    code = [
        line
        for name in ours
        for line in files[name].splitlines()
        if line.strip() and not line.lstrip().startswith(('"""', "#"))
    ]
    assert len(code) < MOST_LINES, len(code)
    others = {
        name for name in files if name not in ours and not name.startswith("test_")
    }
    assert others == {REGISTRY}


def test_it_is_in_the_documents(written: Path) -> None:
    spec = importlib.import_module("services.sleepers.spec").SPEC
    told = document(spec, "/services/sleepers/", "1")
    assert set(told["paths"]) == {"/sleepers", "/sleepers/events"}
    page = api_page(spec)
    for words in ("Follow what becomes of your sleepers.", "Where it sleeps"):
        assert words in page


def test_the_gateway_has_it_by_the_entry_in_the_registry(written: Path) -> None:
    config = written / "gateway.toml"
    config.write_text('[scheduler]\nkind = "local"\n[sleepers]\nmost = 3\n')
    environment = {
        "PATH": os.environ["PATH"],
        "LANDBRIDGE_CONFIG": str(config),
        "LANDBRIDGE_STATE": str(written / "state"),
        "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
    }
    argv = [sys.executable, "-c", HUB, str(written / "services"), blocks()[REGISTRY]]
    ended = subprocess.run(
        argv,
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    gateway = json.loads(ended.stdout)
    use = {"access:services!service=sleepers", "custom:sleepers:use"}
    assert use <= set(gateway["roles"]["user"])
    assert gateway["edge"]["sleepers"].endswith("/sleepers.sock")
    assert "sleepers" in gateway["commands"]
    assert gateway["module"] == "services.sleepers.__main__"
    assert "`GET sleepers/events`" in gateway["reference"]
    assert [entry["href"] for entry in gateway["navigation"]["entries"]] == [
        "/services/storage/",
        "/services/sleepers/",
    ]
    assert "`sleepers.most`" in gateway["settings"]
