"""A service is its folder and one line of the registry: all else follows from that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rigs.checkout import CHECKOUT

# As the one line would: before anything has read the table.
TOY = """
import json, os
import hub.registry
from services.common.service import HubRights, JobsRights, Service, ServiceSection

class ToySettings(ServiceSection):
    colour: str = "red"

hub.registry.SERVICES += (
    Service(
        "toy", "The toy service", "Is there.", "It serves.", ToySettings,
        lambda section: HubRights(("read:users:name",), section.colour),
        {"custom:toy:play": {"description": "Play"}}, ("custom:toy:play",),
        JobsRights("toy", 10, 4, "Plays."), page="Toys",
    ),
)

from traitlets.config import Config
from hub.assemble import assemble
from hub.cli import COMMANDS
from hub.config.settings import load_settings
from hub.config.site import detect, jobs_config
from hub.edge import edge_config
from hub.reference import PAGES
from hub.run.processes import process_spec
from services.jobs.clients import table

settings = load_settings(os.environ)
site = detect(settings)
c = Config()
assemble(c, settings, site)
print(json.dumps({
    "roles": c.JupyterHub.load_roles,
    "services": c.JupyterHub.services,
    "scopes": c.JupyterHub.custom_scopes,
    "servers": list(c.Spawner.server_token_scopes),
    "edge": dict(edge_config(settings, site)().services),
    "command": process_spec(settings, "toy").command,
    "environment": dict(process_spec(settings, "toy").environment),
    "clients": [row.name for row in table(jobs_config(settings, site).services)],
    "commands": list(COMMANDS),
    "headers": [entry.title for entry in c.JupyterHub.template_vars["gateway_pages"]],
    "told": process_spec(settings, "toy").environment["LANDBRIDGE_NAVIGATION"],
    "pages": list(PAGES),
}))
"""


def test_what_is_in_the_registry_is_everywhere(tmp_path: Path):
    config = tmp_path / "gateway.toml"
    config.write_text('[scheduler]\nkind = "local"\n[toy]\ncolour = "blue"\n')
    environment = {
        "PATH": os.environ["PATH"],
        "LANDBRIDGE_CONFIG": str(config),
        "LANDBRIDGE_STATE": str(tmp_path / "state"),
        "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
    }
    ended = subprocess.run(
        [sys.executable, "-c", TOY],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    gateway = json.loads(ended.stdout)
    roles = {role["name"]: role for role in gateway["roles"]}
    assert roles["landbridge-toy"]["scopes"] == ["read:users:name"]
    assert roles["landbridge-toy"]["description"] == "blue"
    assert {"access:services!service=toy", "custom:toy:play"} <= {
        *roles["user"]["scopes"]
    } & {*gateway["servers"]}
    assert "custom:toy:play" in gateway["scopes"]
    assert "toy" in [service["name"] for service in gateway["services"]]
    assert gateway["edge"]["toy"].endswith("/toy.sock")
    assert gateway["command"][-1] == "services.toy.__main__"
    assert gateway["clients"] == ["hub", "toy"]
    assert gateway["environment"]["LANDBRIDGE_JOBS_TOKEN_FILE"].endswith(
        "/secrets/jobs-toy.token"
    )
    assert "toy" in gateway["commands"]
    assert gateway["headers"] == ["Storage", "Toys"]
    assert json.loads(gateway["told"])["entries"][1] == {
        "name": "toy",
        "title": "Toys",
        "href": "/services/toy/",
    }
    assert "docs/reference/toy-api.md" in gateway["pages"]
