"""What the settings become in the edge's terms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.config.paths import hub_socket, jobs_socket
from hub.config.sections import ProxySettings
from hub.config.settings import Settings, load_settings
from hub.edge import edge_config
from services.edge.config import EdgeConfig, render
from services.edge.limits import DEFAULT_SIGN_INS
from services.jobs.settings import Site

LOCAL = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return load_settings(
        {
            "LANDBRIDGE_CONFIG": str(path),
            "LANDBRIDGE_STATE": str(tmp_path / "var"),
            "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
        }
    )


def config_of(settings: Settings) -> EdgeConfig:
    return edge_config(settings, LOCAL)()


def test_a_laptops_gateway_is_served_under_no_name_that_a_page_could_take(settings):
    edge = config_of(settings)
    assert edge.hosts == ("localhost",)
    assert "evil.example" not in edge.jobs_hosts
    hub = settings.hub.model_copy(update={"hosts": (".users.example",)})
    edge = config_of(replace(settings, hub=hub))
    assert edge.hosts == (".users.example", "localhost")
    assert set(edge.hosts) < set(edge.jobs_hosts)


def test_the_edges_limits_are_the_sites(settings):
    edge = config_of(settings)
    assert edge.limits.sign_ins == DEFAULT_SIGN_INS
    assert edge.limits.body_seconds == 20
    assert edge.tunnel_seconds == 300
    assert edge.server_seconds == 3600
    assert edge.trusted_proxies == ()
    said = ProxySettings(
        tunnel_timeout="2m",
        trusted_proxies=("10.0.0.0/8",),
        connections_per_source=9,
        metrics_address="127.0.0.1:9101",
        redirect_address="127.0.0.1:80",
    )
    edge = config_of(replace(settings, proxy=said))
    assert edge.tunnel_seconds == 120
    assert edge.trusted_proxies == ("10.0.0.0/8",)
    assert edge.limits.source == 9
    assert edge.metrics == "127.0.0.1:9101"
    assert edge.redirect == "127.0.0.1:80"


def test_the_edge_is_told_about_jobs_hub_and_services(settings):
    edge = config_of(settings)
    assert edge.jobs == "127.0.0.1:8001"
    assert edge.public == "127.0.0.1:8000"
    assert str(edge.jobs_ca).startswith(str(settings.state))
    assert edge.hub == str(hub_socket(settings))
    assert edge.agents == str(jobs_socket(settings))
    assert list(edge.services) == ["storage"]
    assert edge.sessions, "nobody's pages but one's own"


def test_with_hosts_for_users_the_edge_knows_those_of_services(settings):
    hub = settings.hub.model_copy(update={"subdomains": "hub.localhost"})
    edge = config_of(replace(settings, hub=hub))
    assert edge.host_routing
    assert edge.origin == "http://hub.localhost:8000"
    assert edge.service_hosts == {"storage": "storage--service.hub.localhost"}


def test_what_jobs_report_goes_past_the_hub(settings):
    text = render(config_of(settings))
    jobs = text[text.index("frontend jobs ") :]
    assert f"server jobs unix@{jobs_socket(settings)}" in jobs
    agent = [line.split()[-1] for line in jobs.splitlines() if "acl agent" in line]
    assert agent == ["/jobs/agent/", "/hub/api/landbridge/jobs/"]
    public = text[text.index("frontend public") : text.index("frontend jobs ")]
    assert "use_backend agents" not in public
