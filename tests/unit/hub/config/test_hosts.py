"""Which host names the gateway is served under."""

from __future__ import annotations

import pytest

from hub.config import hosts
from hub.config.settings import load_settings
from services.jobs.settings import Site
from spawners.common.settings import ConfigError

SITE = Site("slurm", "root", "munge", True, "Login1", "0.0.0.0", 8001)
INSECURE = "allow_insecure = true\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "node7")
    monkeypatch.setattr(hosts.socket, "getfqdn", lambda: "Node7.cluster.example.")

    def loaded(text: str):
        path = tmp_path / "gateway.toml"
        path.write_text(f"[hub]\n{text}")
        return load_settings(
            {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(tmp_path / "s")}
        )

    return loaded


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["localhost"]),
        ('bind_address = "::1"\n', ["localhost"]),
        (
            f'bind_address = "0.0.0.0"\n{INSECURE}',
            ["localhost", "node7", "node7.cluster.example"],
        ),
        (
            f'bind_address = "10.0.0.7"\n{INSECURE}',
            ["localhost", "node7", "node7.cluster.example"],
        ),
        ('public_url = "https://Gate.example"\n', ["gate.example", "localhost"]),
        ('public_url = "http://192.168.1.7:8000"\n', ["localhost"]),
        (
            'hosts = ["Lab.Example.org", ".users.example"]\n',
            [".users.example", "lab.example.org", "localhost"],
        ),
    ],
)
def test_browsers_use_the_names_that_are_the_gateways(load, text, names):
    assert hosts.served_hosts(load(text)) == names


def test_jobs_use_the_name_they_are_given_too(load):
    assert hosts.jobs_hosts(load(""), SITE) == [
        "localhost",
        "login1",
        "node7",
        "node7.cluster.example",
    ]


@pytest.mark.parametrize("name", ["", "*", "a b", "http://x", "x:80", "..x", "x/"])
def test_what_is_no_host_name_is_refused_in_words(load, name):
    with pytest.raises(ConfigError, match="no host name"):
        load(f'hosts = ["{name}"]\n')
