"""Which names in Host are served: none that another site's page could come by."""

from __future__ import annotations

import asyncio

import pytest

NAMES = ["gateway.example", "localhost", ".users.example"]


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("gateway.example", True),
        ("gateway.example:8000", True),
        ("GATEWAY.example.", True),
        ("localhost:8000", True),
        ("ada.users.example", True),
        ("a.b.users.example:1", True),
        ("127.0.0.1", True),
        ("192.168.7.20:8000", True),
        ("[::1]:8000", True),
        ("[fe80::1]", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("users.example", False),
        ("evilusers.example", False),
        ("ada.users.example.evil.example", False),
        ("gateway.example.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("1.2.3.4.5", False),
        ("2130706433", False),
        ("0x7f.1", False),
        ("[::1].evil.example", False),
        ("", False),
    ],
)
async def test_a_name_that_others_may_point_at_us_is_not_served(
    make_edge, make_authority, host, served
):
    authority = make_authority("hub")
    edge = await make_edge(
        hosts=NAMES,
        jobs_hosts=NAMES,
        jobs_certificate=str(authority.issue("gateway.example")),
    )
    answer = await edge.ask("/hub/api/", host=host)
    assert (answer.status, bool(edge.hub.received)) == (
        (200, True) if served else (400, False)
    )
    if not served and host[:1] not in ("", "["):  # those are wrong to HAProxy itself
        assert b"hub.hosts" in answer.body
        assert answer.headers["content-type"] == "text/plain"
    from_node = await edge.ask(
        "/hub/api/", host=host, port=edge.jobs_port, tls=authority.client_context()
    )
    assert (from_node.status == 200) is served


async def test_a_check_of_health_without_a_host_is_answered(make_edge):
    """Load balancers send such; a browser cannot."""
    edge = await make_edge(hosts=NAMES)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /hub/health HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()


async def test_a_redirect_to_https_keeps_to_the_names_served(make_edge, free_port):
    port = free_port()
    edge = await make_edge(hosts=NAMES, redirect_address=f"127.0.0.1:{port}")
    away = await edge.ask("/", host="evil.example", port=port)
    assert away.status == 400
    ours = await edge.ask("/hub/", host="gateway.example", port=port)
    assert ours.headers["location"].startswith("https://gateway.example")
