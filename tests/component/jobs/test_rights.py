"""Who may do what at the jobs service: each wrong way in is refused, with words."""

import asyncio
import stat
import subprocess
import sys

import httpx
import pytest

from services.jobs import handlers, service
from services.jobs.clients import ClientTokens, whose
from services.jobs.service import TOKEN_VARIABLE
from spawners.batch.errors import InvalidSpec, LimitReached, NotPermitted
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.http import HttpClient, SocketWay
from spawners.batch.jobs.record import Address
from spawners.batch.jobs.wire import NameUsed
from spawners.batch.models import JobState, Launch
from spawners.batch.rendezvous.launches import StoredLaunches

SERVER = "server:alice/"
LAUNCH = Launch(("serve",), {"A": "1"})


def ended(record):
    return not record.live


@pytest.fixture
async def hub(rig):
    return await rig.client()


@pytest.fixture
async def clusters(rig):
    return await rig.client("clusters")


@pytest.fixture
async def server(rig, hub, new_spec):
    """Alice's notebook server; returns its record and its job's token."""
    record = await hub.submit(new_spec(), user="alice", owner=SERVER, launch=LAUNCH)
    launches = rig.service.jobs._launches
    assert isinstance(launches, StoredLaunches)
    launch = await launches.load(record.name)
    return record, launch.environment[TOKEN_VARIABLE]


@pytest.fixture
async def kernels(rig, server):
    """What alice's notebook server has of the service."""
    return await rig.client_with(lambda: server[1], prefix="kernel:alice/")


def bare(spec):
    """The spec as a client sends it that has no script of its own."""
    object.__setattr__(spec, "script", None)
    return spec


async def raw(rig, method, path, token="", **options):
    transport = httpx.AsyncHTTPTransport(verify=False, uds=str(rig.socket))
    headers = options.pop("headers", {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        return await client.request(
            method, f"http://jobs{path}", headers=headers, **options
        )


class TestTheSocket:
    async def test_it_is_ours_alone(self, rig):
        assert stat.S_IMODE(rig.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(rig.state.stat().st_mode) == 0o700

    @pytest.mark.root
    async def test_another_account_does_not_get_in(self, rig):
        rig.state.chmod(0o711)  # even if the directory were open
        program = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        )
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, str(rig.socket)],
            capture_output=True,
            text=True,
        )
        assert "PermissionError" in done.stderr

    async def test_without_a_token_nothing_is_answered(self, rig, server):
        name = server[0].name
        for method, path in [
            ("GET", "/v1/jobs"),
            ("GET", f"/v1/jobs/{name}"),
            ("PUT", f"/v1/jobs/{name}"),
            ("DELETE", f"/v1/jobs/{name}"),
            ("DELETE", "/v1/jobs?owner=server:alice/"),
            ("POST", f"/v1/jobs/{name}/failure"),
            ("POST", f"/v1/jobs/{name}/events"),
            ("PUT", f"/v1/jobs/{name}/launch"),
            ("PUT", "/v1/sets/lb-x"),
            ("DELETE", "/v1/sets/lb-x"),
            ("POST", "/v1/cancellations"),
            ("GET", "/v1/events?owner=server:alice/"),
            ("GET", "/v1/watch?after=x-0"),
            ("GET", "/v1/cluster"),
            ("GET", "/v1/users/alice/limits"),
            ("POST", "/v1/check"),
            ("POST", "/v1/estimate"),
            ("PUT", "/v1/sets/lb-set"),
            ("POST", "/v1/cancellations"),
            ("GET", "/v1/usage?since=2026-01-01T00:00:00Z"),
            ("POST", "/v1/users/alice/usage"),
            ("GET", "/metrics"),
        ]:
            for token in ("", "hub.wrong", "hub", f"{name}.wrong", "."):
                answer = await raw(rig, method, path, token)
                assert answer.status_code == 401, (method, path, token)
                assert answer.json()["error"]["code"] == "not-signed-in"
        assert server[0].job in rig.scheduler.live()
        assert (await raw(rig, "GET", "/health")).json()["status"] == "ready"

    async def test_tokens_are_files_of_ours_and_kept_as_hashes(self, rig, hub):
        file = rig.tokens.file_of("hub")
        token = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for kept in rig.state.rglob("*"):
            if kept.is_file() and kept != file:
                assert token.encode() not in kept.read_bytes(), kept

    async def test_a_rotated_token_is_good_no_more_and_the_next_is_found(
        self, rig, hub, new_spec
    ):
        old = rig.tokens.file_of("hub").read_text().strip()
        assert (await raw(rig, "GET", "/v1/jobs", old)).status_code == 200
        rig.tokens.rotate("hub")
        assert (await raw(rig, "GET", "/v1/jobs", old)).status_code == 401
        record = await hub.submit(new_spec(), user="alice", owner=SERVER)
        assert record.live

    async def test_a_token_of_another_gateway_is_not_ours(self, rig, tmp_path):
        tmp_path.chmod(0o700)
        other = ClientTokens(tmp_path)
        other.ensure()
        token = other.file_of("hub").read_text().strip()
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 401


class TestOwners:
    @pytest.mark.parametrize(
        "owner", ["server:alice/", "kernel:alice/1", "clusters:alice/", "cluster:alice"]
    )
    async def test_a_client_has_jobs_of_its_own_prefixes_only(
        self, rig, clusters, new_spec, owner
    ):
        with pytest.raises((NotPermitted, InvalidSpec)):
            await clusters.submit(
                bare(new_spec()), user="alice", owner=owner, launch=LAUNCH
            )
        assert rig.scheduler.calls["submit"] == 0

    async def test_another_clients_job_is_as_if_it_were_not(
        self, rig, hub, clusters, new_spec, server
    ):
        name = server[0].name
        with pytest.raises(UnknownJob):
            await clusters.cancel(name)
        with pytest.raises(UnknownJob):
            await clusters.give_up(name, Failure("Why"))
        with pytest.raises(UnknownJob):
            await clusters.note(name, "line", "Words")
        with pytest.raises(UnknownJob):
            await clusters.give_launch(name, LAUNCH)
        with pytest.raises(UnknownJob):
            await clusters.wait(name, ended)
        with pytest.raises(NotPermitted):
            await clusters.cancel_owned("server:")
        assert await clusters.events(SERVER) == []
        assert clusters.records() == []
        assert server[0].job in rig.scheduler.live()
        with pytest.raises(NameUsed):
            await clusters.submit(
                bare(new_spec(name=name)),
                user="alice",
                owner="cluster:alice/one/0",
                launch=LAUNCH,
            )

    async def test_a_stream_tells_only_of_ones_own(self, rig, hub, clusters, new_spec):
        theirs = await hub.submit(new_spec(), user="alice", owner=SERVER)
        own = await clusters.submit(
            bare(new_spec()), user="alice", owner="cluster:alice/one/0", launch=LAUNCH
        )
        await hub.cancel(theirs.name)
        await hub.wait(theirs.name, ended)
        await clusters.cancel(own.name)
        await clusters.wait(own.name, ended)
        assert clusters.get(theirs.name) is None
        assert hub.get(own.name) is not None

    @pytest.mark.parametrize(
        "owner", ["", "x", "server:", "server:/", "a:b/\n", "é:b/"]
    )
    def test_what_is_no_owner(self, owner):
        with pytest.raises(InvalidSpec):
            whose(owner)


class TestScripts:
    async def test_only_the_hub_sends_one(self, rig, clusters, new_spec):
        for spec in (new_spec(), bare(new_spec(options=("--exclusive",)))):
            with pytest.raises(NotPermitted, match="script"):
                await clusters.submit(
                    spec, user="alice", owner="cluster:alice/one/0", launch=LAUNCH
                )
        assert rig.scheduler.calls["submit"] == 0

    async def test_others_run_the_agent_and_nothing_else(self, rig, clusters, new_spec):
        record = await clusters.submit(
            bare(new_spec()), user="alice", owner="cluster:alice/one/0", launch=LAUNCH
        )
        script = rig.scheduler.spec(record.job).script
        assert "LANDBRIDGE_AGENT" in script
        assert "serve" not in script

    async def test_without_a_launch_there_is_nothing_to_run(self, clusters, new_spec):
        with pytest.raises(InvalidSpec, match="launch"):
            await clusters.submit(
                bare(new_spec()), user="alice", owner="cluster:alice/one/0"
            )


class TestNames:
    async def test_a_name_is_good_for_one_job(self, rig, hub, new_spec):
        spec = new_spec()
        first = await hub.submit(spec, user="alice", owner=SERVER)
        for other in (
            {"spec": new_spec(name=spec.name, workdir="/elsewhere")},
            {"spec": spec, "user": "bob"},
            {"spec": spec, "owner": "server:alice/other"},
            {"spec": spec, "launch": LAUNCH},
            {"spec": spec, "facts": {"a": "b"}},
        ):
            arguments = {"user": "alice", "owner": SERVER, **other}
            with pytest.raises(NameUsed):
                await hub.submit(arguments.pop("spec"), **arguments)
        assert (await hub.submit(spec, user="alice", owner=SERVER)).job == first.job
        assert rig.scheduler.calls["submit"] == 1

    @pytest.mark.parametrize("name", ["a_b", "-x", "a" * 65, "%2e%2e", "x%00"])
    async def test_what_is_no_name_is_no_address(self, rig, name):
        token = rig.tokens.file_of("hub").read_text().strip()
        answer = await raw(rig, "PUT", f"/v1/jobs/{name}", token, content=b"{}")
        assert answer.status_code == 404

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b"{", b'{"user": 1}', b"\xff", b"9" * 10_000]
    )
    async def test_a_body_that_is_none_is_refused_by_its_field(self, rig, body):
        token = rig.tokens.file_of("hub").read_text().strip()
        answer = await raw(rig, "PUT", "/v1/jobs/lb-x", token, content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["field"]


class TestNumbers:
    async def test_a_user_has_so_many_jobs_of_a_client(self, clusters, new_spec):
        async def submit(owner):
            return await clusters.submit(
                bare(new_spec()), user="alice", owner=owner, launch=LAUNCH
            )

        first = await asyncio.gather(
            *(submit(f"cluster:alice/one/{n}") for n in range(4))
        )
        with pytest.raises(LimitReached):
            await submit("cluster:alice/two/0")
        await asyncio.gather(*(submit(f"cluster:bob/one/{n}") for n in range(2)))
        with pytest.raises(LimitReached):
            await submit("cluster:carol/one/0")
        await clusters.cancel(first[0].name)
        await clusters.wait(first[0].name, ended)
        await submit("cluster:alice/two/0")

    async def test_all_at_once_are_not_more(self, rig, clusters, new_spec):
        results = await asyncio.gather(
            *(
                clusters.submit(
                    bare(new_spec()),
                    user="alice",
                    owner=f"cluster:alice/one/{n}",
                    launch=LAUNCH,
                )
                for n in range(9)
            ),
            return_exceptions=True,
        )
        refused = [r for r in results if isinstance(r, LimitReached)]
        assert len(rig.scheduler.live()) <= 4
        assert len(refused) == 9 - len(rig.scheduler.live())


class TestWords:
    """What a client says is bounded, and no database refuses it later."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("kind", "x" * 33),
            ("kind", "Route"),
            ("kind", ""),
            ("message", "x" * 1_001),
            ("message", "a\0b"),
            ("message", "two\nlines"),
            ("data", {"a": "x" * 5_000}),
            ("key", ""),
            ("key", "k" * 65),
            ("key", "k\0"),
        ],
    )
    async def test_a_line_that_is_none_is_refused(self, rig, server, field, value):
        token = rig.tokens.file_of("hub").read_text().strip()
        line = {"kind": "route", "message": "Set", "data": {}, "key": "k1"}
        path = f"/v1/jobs/{server[0].name}/events"
        answer = await raw(rig, "POST", path, token, json=line | {field: value})
        assert answer.status_code == 422
        assert answer.json()["error"]["field"] == field
        answer = await raw(rig, "POST", path, token, json=line)
        assert answer.status_code == 201

    async def test_a_story_has_an_end(self, hub, server, monkeypatch):
        monkeypatch.setattr(service, "_MOST_LINES", 10)
        name = server[0].name
        with pytest.raises(LimitReached, match="10 lines"):
            for number in range(20):
                await hub.note(name, "line", f"Line {number}")
        assert len(await hub.events(SERVER)) == 10

    async def test_a_record_holds_so_much_and_no_more(self, rig, hub, new_spec, server):
        long = "x" * 300_000
        with pytest.raises(InvalidSpec, match="facts"):
            await hub.submit(
                new_spec(), user="bob", owner="server:bob/", facts={"a": long}
            )
        with pytest.raises(InvalidSpec, match="failure"):
            await hub.give_up(server[0].name, Failure("Why", long))
        assert rig.scheduler.live() == [server[0].job]


class TestTokensOfJobs:
    async def test_a_server_starts_kernels_of_its_own_user(
        self, rig, kernels, new_spec
    ):
        record = await kernels.submit(
            bare(new_spec()), user="alice", owner="kernel:alice/1", launch=LAUNCH
        )
        assert record.user == "alice"
        assert kernels.records() == [kernels.get(record.name)]
        await kernels.cancel(record.name)
        await kernels.wait(record.name, ended)

    @pytest.mark.parametrize(
        ("user", "owner"),
        [
            ("bob", "kernel:alice/1"),
            ("root", "kernel:alice/1"),
            ("alice", "kernel:bob/1"),
            ("alice", "kernel:alice2/1"),
            ("alice", "server:alice/x"),
            ("bob", "kernel:bob/1"),
        ],
    )
    async def test_and_of_nobody_else(self, rig, kernels, new_spec, user, owner):
        before = rig.scheduler.calls["submit"]
        with pytest.raises(NotPermitted):
            await kernels.submit(
                bare(new_spec()), user=user, owner=owner, launch=LAUNCH
            )
        assert rig.scheduler.calls["submit"] == before

    async def test_it_sends_no_script(self, kernels, new_spec):
        with pytest.raises(NotPermitted, match="script"):
            await kernels.submit(
                new_spec(), user="alice", owner="kernel:alice/1", launch=LAUNCH
            )

    async def test_it_reads_nothing_of_others(self, rig, server, kernels):
        record, token = server
        assert kernels.records(live_only=False) == []
        with pytest.raises(UnknownJob):
            await kernels.wait(record.name, ended)
        with pytest.raises(UnknownJob):
            await kernels.cancel(record.name)
        with pytest.raises(NotPermitted):
            await kernels.limits("bob")
        assert (await raw(rig, "GET", "/metrics", token)).status_code == 403
        assert await kernels.limits("alice") == rig.scheduler.user_limits

    async def test_bobs_token_does_nothing_to_alices_jobs(
        self, rig, hub, kernels, server, new_spec
    ):
        """Her server, her kernel, and a kernel of his under her kernel's name."""
        alices = await kernels.submit(
            bare(new_spec()), user="alice", owner="kernel:alice/1", launch=LAUNCH
        )
        bobs = await hub.submit(
            new_spec(), user="bob", owner="server:bob/", launch=LAUNCH
        )
        launch = await rig.service.jobs._launches.load(bobs.name)
        token = launch.environment[TOKEN_VARIABLE]
        bob = await rig.client_with(lambda: token, prefix="kernel:bob/")
        for name in (server[0].name, alices.name):
            with pytest.raises(UnknownJob):
                await bob.cancel(name)
            with pytest.raises(UnknownJob):
                await bob.give_up(name, Failure("Why"))
            with pytest.raises(UnknownJob):
                await bob.note(name, "line", "Words")
            with pytest.raises(UnknownJob):
                await bob.give_launch(name, LAUNCH)
            with pytest.raises(NameUsed):
                await bob.submit(
                    bare(new_spec(name=name)),
                    user="bob",
                    owner="kernel:bob/1",
                    launch=LAUNCH,
                )
        for prefix in ("kernel:alice/", "kernel:", "server:bob/"):
            with pytest.raises(NotPermitted):
                await bob.cancel_owned(prefix)
        assert await bob.events("kernel:alice/1") == []
        assert bob.records(live_only=False) == []
        assert hub.get(alices.name).live
        assert hub.get(server[0].name).live

    async def test_it_ends_with_its_job(self, rig, hub, server, new_spec):
        record, token = server
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 200
        await hub.cancel(record.name)
        await hub.wait(record.name, ended)
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 401
        # Also when alice has another server.
        await hub.submit(new_spec(), user="alice", owner=SERVER, launch=LAUNCH)
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 401

    async def test_a_stream_that_it_opened_ends_with_it(
        self, rig, hub, server, monkeypatch
    ):
        monkeypatch.setattr(handlers, "KEEPALIVE_SECONDS", 0.1)
        monkeypatch.setattr(handlers, "LOOK_SECONDS", 0.1)
        record, token = server
        feed = rig.service.feed
        path = f"/v1/watch?after={feed.epoch}-{feed.revision}"
        client = HttpClient(SocketWay(rig.socket))
        async with client.stream(
            path, token=token, seconds=5, silence_seconds=5
        ) as stream:
            assert stream.status == 200
            await hub.cancel(record.name)
            async with asyncio.timeout(20):
                async for line in stream.lines():
                    assert record.name not in line

    async def test_it_outlives_the_service(self, rig, server):
        await rig.kill()
        await rig.start()
        assert (await raw(rig, "GET", "/v1/jobs", server[1])).status_code == 200

    async def test_it_says_the_same_of_no_other_job(self, rig, hub, server, new_spec):
        other = await hub.submit(
            new_spec(), user="bob", owner="server:bob/", launch=LAUNCH
        )
        forged = f"{other.name}.{server[1].rpartition('.')[2]}"
        assert (await raw(rig, "GET", "/v1/jobs", forged)).status_code == 401

    async def test_a_launch_that_is_handed_in_later_has_one_too(self, rig, hub, server):
        record, earlier = server
        assert await hub.give_launch(record.name, LAUNCH)
        launch = await rig.service.jobs._launches.load(record.name)
        token = launch.environment[TOKEN_VARIABLE]
        assert token != earlier
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 200
        # It may have fetched the earlier one just before.
        assert (await raw(rig, "GET", "/v1/jobs", earlier)).status_code == 200

    async def test_one_that_is_not_taken_any_more_changes_none(self, rig, hub, server):
        record, token = server
        await rig.service.jobs.report_ready(
            record.name, Address("n01", "127.0.0.1", 41000)
        )
        assert not await hub.give_launch(record.name, LAUNCH)
        assert (await raw(rig, "GET", "/v1/jobs", token)).status_code == 200

    async def test_a_kernel_has_none(self, rig, kernels, new_spec):
        record = await kernels.submit(
            bare(new_spec()), user="alice", owner="kernel:alice/1", launch=LAUNCH
        )
        launch = await rig.service.jobs._launches.load(record.name)
        assert TOKEN_VARIABLE not in launch.environment


class TestAgents:
    async def test_a_job_that_proves_itself_gets_its_launch(self, rig, server):
        path = "/hub/api/landbridge/jobs/fetch"
        body = {"job": server[0].name, "nonce": "n" * 32, "proof": "wrong"}
        answer = await raw(rig, "POST", path, json=body)
        assert answer.status_code == 403
        assert answer.json()["action"] == "end"
        token = rig.scheduler.spec(server[0].job).environment["LANDBRIDGE_TOKEN"]
        rig.scheduler.move(server[0].job, JobState.RUNNING, node="n01")
        answer = await raw(
            rig,
            "POST",
            path,
            json=body | {"proof": token},
            headers={"X-Forwarded-For": "127.0.0.1"},
        )
        assert answer.status_code == 200
        assert answer.json()["argv"] == ["serve"]
        assert answer.json()["environment"][TOKEN_VARIABLE] == server[1]
