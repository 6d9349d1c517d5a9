"""Objects through the edge: what the store is sent, and what may come back."""

from __future__ import annotations

import pytest

SANDBOX = "sandbox; default-src 'none'"


@pytest.fixture
async def edge(make_edge, make_origin, directory):
    store = await make_origin("store")
    await store.stop()
    await store.start_unix(directory / "store.sock")
    return await make_edge(store=str(directory / "store.sock"))


@pytest.fixture
async def gate(make_edge, make_origin):
    """An edge below another path, to a store on a port."""
    store = await make_origin("store")
    return await make_edge(base_url="/gate/", store=store.url)


def head_of(answer) -> list[str]:
    assert answer.status == 200, answer
    assert answer.json["origin"] == "store"
    return answer.json["head"].split("\r\n")


def header(lines: list[str], name: str) -> list[str]:
    prefix = f"{name}:".lower()
    return [
        line[len(prefix) :].strip() for line in lines if line.lower().startswith(prefix)
    ]


async def test_the_prefix_is_cut_and_everything_signed_stays(edge):
    path = "/s3/bucket/a%20b%2Fc+d?X-Amz-Signature=1&k=%2F%20"
    lines = head_of(await edge.ask(path))
    assert lines[0] == "GET /bucket/a%20b%2Fc+d?X-Amz-Signature=1&k=%2F%20 HTTP/1.1"
    assert header(lines, "host") == ["gateway.example"]


async def test_a_client_says_nothing_of_a_prefix(edge):
    lie = ("X-Forwarded-Prefix: /evil", "x-forwarded-prefix: /evil")
    lines = head_of(await edge.ask("/s3/b/k", headers=lie))
    assert header(lines, "x-forwarded-prefix") == []


async def test_the_gateway_may_lie_below_another_path(gate):
    lines = head_of(await gate.ask("/gate/s3/b/k"))
    assert lines[0].startswith("GET /b/k ")


SIGNATURE = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c"
PRESIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=1"


async def test_s3_clients_need_no_path_of_ours(edge):
    await check_signed(edge)


async def test_s3_clients_need_no_path_below_another_one(gate):
    await check_signed(gate)


async def check_signed(edge) -> None:
    """Whatever the path is: a bucket may be called like a part of the gateway."""
    cookie = "Cookie: jupyterhub-session-id=secret"
    signed = (f"Authorization: {SIGNATURE}", cookie)
    for path in ("/", "/b/a%20b=c?list-type=2", "/hub/api", "/s3x/k", "/user/a/b"):
        answer = await edge.ask(path, headers=signed)
        assert head_of(answer)[0] == f"GET {path} HTTP/1.1"
        assert header(head_of(answer), "cookie") == []
        assert answer.headers["content-security-policy"] == SANDBOX
    lines = head_of(await edge.ask(f"/hub/x?{PRESIGNED}", headers=(cookie,)))
    assert lines[0] == f"GET /hub/x?{PRESIGNED} HTTP/1.1"
    assert header(lines, "cookie") == []
    assert (await edge.ask("/", method="POST", headers=signed)).status == 403


async def test_other_signatures_are_the_hubs(edge):
    for sent in ("Bearer AWS4-HMAC-SHA256 x", "AWS4-HMAC-SHA2567 x", "token x"):
        assert (
            await edge.origin_of("/hub", headers=(f"Authorization: {sent}",)) == "hub"
        )
    assert await edge.origin_of("/hub?a=X-Amz-Algorithm%3DAWS4-HMAC-SHA256") == "hub"


async def test_who_is_signed_in_here_stays_here(edge):
    sent = (
        "Cookie: jupyterhub-session-id=secret; service-storage=secret",
        "Authorization: Bearer hub-token-secret",
        "X-XSRFToken: secret",
    )
    answer = await edge.ask("/s3/b/k", headers=sent)
    assert "secret" not in "\n".join(head_of(answer))


async def test_a_client_that_signs_itself_keeps_its_signature(edge):
    lines = head_of(await edge.ask("/s3/b", headers=(f"Authorization: {SIGNATURE}",)))
    assert header(lines, "authorization") == [SIGNATURE]


@pytest.mark.parametrize(
    "name", ["x-amz-copy-source", "x-amz-acl", "x-amz-grant-read", "X-Amz-Tagging"]
)
async def test_nothing_is_added_to_a_signed_url_by_a_header(edge, name):
    sent = (f"{name}: /bob/secret",)
    for query in ("X-Amz-Signature=1", "a=1&X-Amz-Signatur%65=1", "x-amz-signature=1"):
        lines = head_of(await edge.ask(f"/s3/b/k?{query}", headers=sent))
        assert header(lines, name) == [], query
    for query in ("", "?uploads=&prefix=a%20b%26X-Amz-Signature%3D1"):
        lines = head_of(await edge.ask(f"/s3/b/k{query}", headers=sent))
        assert header(lines, name) == ["/bob/secret"], query


async def test_every_answer_is_in_a_sandbox(edge, directory):
    answers = [
        await edge.ask("/s3/b/k"),
        await edge.ask("/s3/", method="POST"),
        await edge.ask("/s3/b/k", headers=("Service-Worker: script",)),
    ]
    (directory / "store.sock").unlink()
    answers.append(await edge.ask("/s3/b/k"))
    assert [answer.status for answer in answers] == [200, 403, 403, 503]
    for answer in answers:
        assert answer.headers["content-security-policy"] == SANDBOX
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_keys_are_not_given_out_by_the_edge(edge):
    """STS and IAM of the store answer at its root, to POST."""
    for path in ("/s3/", "/s3/?Action=AssumeRole"):
        assert (await edge.ask(path, method="POST")).status == 403
    assert (await edge.ask("/s3/b?delete=", method="POST")).status == 200


@pytest.mark.parametrize(
    "path",
    ["/s3/b/../../etc", "/s3/b/%2e%2e/x", "/s3/..%2f", "/s3/b/%00", "/s3/b/a%5c..%5cx"],
)
async def test_a_path_that_walks_up_goes_nowhere(edge, path):
    assert (await edge.ask(path)).status == 400


async def test_what_only_looks_like_the_prefix_is_the_hubs(edge):
    for path in ("/s3", "/s3x/b", "/hub/s3/b", "/%73%33/b"):
        assert (await edge.origin_of(path)) in ("hub", "store")
    assert await edge.origin_of("/s3x/b") == "hub"
    assert await edge.origin_of("/hub/s3/b") == "hub"
