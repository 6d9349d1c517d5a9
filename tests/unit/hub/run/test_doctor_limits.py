"""What doctor says of the edge's limits by address."""

from __future__ import annotations

import pytest

from hub.config.settings import load_settings
from hub.run import doctor
from services.edge.limits import default_server, default_source
from services.jobs.settings import Site

SITE = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
FRONT = '[hub]\npublic_url = "https://gateway.example"\n'


@pytest.mark.parametrize(
    ("text", "most", "verdict", "word"),
    [
        ("", 20_000, "ok", "5000 of one address"),
        ("", 9_750, "ok", "4000 of one address"),
        ("", 1_800, "warn", "LimitNOFILE"),
        ("[proxy]\nconnections_per_source = 4500\n", 9_750, "ok", "4500"),
        (FRONT, 20_000, "warn", "proxy.trusted_proxies"),
        (FRONT + '[proxy]\ntrusted_proxies = ["10.0.0.0/8"]\n', 20_000, "ok", "5000"),
    ],
)
def test_limits_are_judged(tmp_path, monkeypatch, text, most, verdict, word):
    monkeypatch.setattr(doctor, "default_max_connections", lambda: most)
    (tmp_path / "gateway.toml").write_text(text)
    settings = load_settings(
        {
            "LANDBRIDGE_CONFIG": str(tmp_path / "gateway.toml"),
            "LANDBRIDGE_STATE": str(tmp_path / "state"),
        }
    )
    (found,) = doctor.check_limits(settings, SITE)
    assert found.verdict == verdict
    assert word in f"{found.text} {found.hint}"


@pytest.mark.parametrize("most", [1, 100, 1_800, 9_750, 20_000, 100_000])
def test_no_address_and_no_server_can_have_it_all(most):
    assert 1 <= default_source(most) <= max(1, most // 2)
    assert default_server(most) <= max(200, most // 10)
