"""The pool of backends for models, as text for HAProxy."""

from __future__ import annotations

import pytest

from services.edge.errors import BadRoute
from services.edge.models.pool import Pool, Replica, Trust, size_of

TRUST = Trust("/ca.pem", "client.pem")


def test_an_empty_pool_has_its_backends_of_each_kind():
    pool = Pool(2, TRUST)
    assert pool.text().splitlines()[1:] == [
        "backend m_again_0000 from models_again",
        "backend m_again_0001 from models_again",
        "backend m_once_0000 from models_once",
        "backend m_once_0001 from models_once",
        "backend m_rpc_0000 from models_rpc",
        "backend m_rpc_0001 from models_rpc",
    ]
    assert size_of(pool.text()) == 2
    assert size_of("global\n") == 0


def test_a_replica_is_said_whole_each_time():
    replica = Replica("r1", "10.0.0.7", 41234, "r1.internal", at_once=8, weight=50)
    options = replica.options("m_rpc_0000", TRUST)
    assert options.startswith("10.0.0.7:41234 proto h2 ssl verify required ")
    assert "verifyhost r1.internal sni str(r1.internal)" in options
    assert options.endswith("maxconn 8 weight 50")
    pool = Pool(1, TRUST).with_replicas("m_rpc_0000", [replica])
    assert f"    server r1 {options}\n" in pool.text()
    assert pool.with_replicas("m_rpc_0000", []) == Pool(1, TRUST)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "r 1"},
        {"name": "r1\nserver"},
        {"name": ""},
        {"address": "node1"},
        {"address": "1.2.3.4 ssl"},
        {"port": 0},
        {"port": 65536},
        {"tls_name": "a b"},
        {"tls_name": "a)"},
        {"at_once": 0},
        {"weight": 257},
    ],
)
def test_what_must_never_reach_haproxy_is_refused(change):
    facts = {"name": "r1", "address": "10.0.0.7", "port": 1, "tls_name": "r.internal"}
    with pytest.raises(BadRoute):
        Replica(**{**facts, **change})


def test_a_backend_outside_of_the_pool_is_refused():
    with pytest.raises(BadRoute):
        Pool(1, TRUST).with_replicas("m_again_0001", [])
