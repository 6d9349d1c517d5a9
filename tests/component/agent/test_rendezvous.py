"""The hub's side of a job's three calls: who is believed, and who is not."""

import asyncio
import json
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigs.batch.rendezvous import NONCE, Rig
from spawners.batch.errors import AuthenticationBroken
from spawners.batch.jobs.record import Address
from spawners.batch.models import JobState
from spawners.batch.rendezvous.messages import (
    Ended,
    Fetch,
    Ready,
    Refusal,
    Refused,
    clean_log,
    parse,
)
from spawners.batch.rendezvous.proofs import Identity, ProofRefused

TELLING = {refusal.answer().json["message"] for refusal in Refusal}


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.stop()


class StubMunge:
    """Believes a credential "uid:payload"; each only once."""

    def __init__(self):
        self.used = set()

    async def identity(self, credential, expected):
        uid, _, said = credential.partition(":")
        if credential in self.used or said != expected:
            raise ProofRefused("replayed or for another")
        self.used.add(credential)
        return Identity(int(uid), {"1001": "alice"}.get(uid, ""))


def refused(answer, refusal):
    assert answer == refusal.answer(), answer.json
    return True


async def test_a_job_proves_itself_starts_and_ends(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert fetched.status == 200
    assert fetched.json["environment"] == {"JUPYTERHUB_API_TOKEN": "hub-token"}
    assert "hub-token" not in repr(fetched)
    assert (await rig.ready(record, fetched)).status == 200
    address = rig.jobs.get(record.name).address
    assert address == Address("n01", "127.0.0.1", 41000, fetched.json["fingerprint"])
    secret = fetched.json["report_secret"]
    ended = {"job": record.name, "secret": secret, "exit_code": 3, "log": "bye"}
    assert (await rig.call("ended", ended)).status == 200
    assert (await rig.call("ended", ended)).status == 200
    assert refused(await rig.ready(record, fetched), Refusal.OVER)
    kinds = [event.kind for event in await rig.jobs.events(record.owner)]
    assert kinds.count("starting") == kinds.count("server") == 1


async def test_only_hashes_are_stored(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    await rig.stop()
    stored = b"".join(path.read_bytes() for path in rig.directory.glob("jobs.sqlite*"))
    await rig.start()
    for secret in (
        environment["LANDBRIDGE_TOKEN"],
        fetched.json["report_secret"],
        NONCE,
        "hub-token",
        "PRIVATE KEY",
    ):
        assert secret.encode() not in stored


async def test_a_token_works_once_and_only_from_the_jobs_node(rig):
    record, environment = await rig.submit()
    for peer in ("127.0.0.2", "10.0.0.9", "", "n01", "::1"):
        answer = await rig.fetch(record, environment, peer=peer)
        assert refused(answer, Refusal.NO_PROOF)
    assert (await rig.fetch(record, environment)).status == 200
    answer = await rig.fetch(record, environment, nonce="m" * 32)
    assert refused(answer, Refusal.NO_PROOF)


async def test_a_lost_answer_is_given_again_with_new_secrets(rig):
    record, environment = await rig.submit()
    first = await rig.fetch(record, environment)
    again = await rig.fetch(record, environment, peer="::ffff:127.0.0.1")
    assert again.status == 200
    assert refused(await rig.ready(record, first), Refusal.NO_PROOF)
    assert (await rig.ready(record, again)).status == 200
    assert refused(await rig.fetch(record, environment), Refusal.REPEATED)


async def test_a_lost_answer_is_not_given_again_for_ever(rig):
    rig.repeat_within = timedelta(0)
    await rig.restart()
    record, environment = await rig.submit()
    assert (await rig.fetch(record, environment)).status == 200
    assert refused(await rig.fetch(record, environment), Refusal.NO_PROOF)


async def test_a_wrong_token_or_another_jobs_is_refused(rig):
    record, environment = await rig.submit()
    _, other = await rig.submit("server:bob/", "bob")
    for proof in ("x", other["LANDBRIDGE_TOKEN"], "x" * 8000):
        answer = await rig.fetch(record, environment, proof=proof)
        assert refused(answer, Refusal.NO_PROOF)
    assert refused(
        await rig.fetch(record, environment, job="lb-unknown"), Refusal.NO_PROOF
    )


async def test_a_restart_between_the_calls_changes_nothing(rig):
    record, environment = await rig.submit()
    await rig.restart()
    fetched = await rig.fetch(record, environment)
    await rig.restart()
    assert (await rig.ready(record, fetched)).status == 200
    await rig.restart()
    assert (await rig.ready(record, fetched)).status == 200
    assert refused(await rig.fetch(record, environment), Refusal.REPEATED)


async def test_a_munge_credential_of_the_user_is_believed_and_no_other(rig):
    rig.proof, rig.munge = "munge", StubMunge()
    await rig.restart()
    record, environment = await rig.submit(node=None)
    assert "LANDBRIDGE_TOKEN" not in environment
    said = f"landbridge/1 fetch {record.name} {NONCE}"
    for proof in (f"1002:{said}", f"0:{said}", f"1001:{said} ", "1001:"):
        answer = await rig.fetch(record, environment, proof=proof)
        assert refused(answer, Refusal.NO_PROOF)
    # The scheduler has not told that it runs: the credential is proof enough.
    assert (await rig.fetch(record, environment, proof=f"1001:{said}")).status == 200
    answer = await rig.fetch(record, environment, proof=f"1001:{said}")
    assert refused(answer, Refusal.NO_PROOF)
    other = f"landbridge/1 fetch {record.name} {'m' * 32}"
    answer = await rig.fetch(record, environment, proof=f"1001:{other}", nonce="m" * 32)
    assert answer.status == 200


async def test_a_token_is_no_proof_where_munge_is_asked_for(rig):
    record, environment = await rig.submit()
    rig.proof, rig.munge = "munge", StubMunge()
    await rig.restart()
    with_token = await rig.fetch(record, environment)
    assert refused(with_token, Refusal.NO_PROOF)


async def test_broken_munge_lets_the_job_wait(rig):
    class Broken:
        async def identity(self, credential, expected):
            raise AuthenticationBroken("munged is gone")

    rig.proof, rig.munge = "munge", Broken()
    await rig.restart()
    record, environment = await rig.submit()
    assert refused(await rig.fetch(record, environment, proof="x"), Refusal.NOT_NOW)


@pytest.mark.parametrize(
    "host",
    ["n02", "N01", "n01.evil", "localhost", "127.0.0.1", "169.254.169.254", "10.0.0.1"],
)
async def test_only_a_node_of_the_job_is_believed(rig, host):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert refused(await rig.ready(record, fetched, host=host), Refusal.WRONG_HOST)
    assert rig.jobs.get(record.name).address is None


@pytest.mark.parametrize("port", [0, 1, 22, 443, 1023, 65536, -1, "41000", 4.5, True])
async def test_a_port_out_of_range_is_malformed(rig, port):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert refused(await rig.ready(record, fetched, port=port), Refusal.MALFORMED)


async def test_another_certificate_is_refused(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    answer = await rig.ready(record, fetched, fingerprint="0" * 64)
    assert refused(answer, Refusal.WRONG_KEY)


async def test_ready_counts_once(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert (await rig.ready(record, fetched)).status == 200
    assert refused(await rig.ready(record, fetched, port=41001), Refusal.REPEATED)
    assert rig.jobs.get(record.name).address.port == 41000


async def test_reports_need_the_secret_of_their_own_job(rig):
    record, _ = await rig.submit()
    other, theirs = await rig.submit("server:bob/", "bob")
    fetched = await rig.fetch(other, theirs)
    answer = await rig.ready(record, fetched)
    assert refused(answer, Refusal.NO_PROOF)
    body = {"job": record.name, "secret": fetched.json["report_secret"]}
    assert refused(await rig.call("ended", body), Refusal.NO_PROOF)


async def test_a_job_that_is_faster_than_the_watcher_is_waited_for(rig):
    rig.node_wait = timedelta(seconds=10)
    await rig.restart()
    record, environment = await rig.submit(node=None)
    fetching = asyncio.create_task(rig.fetch(record, environment))
    await asyncio.sleep(0)
    rig.run(record)
    assert (await fetching).status == 200


async def test_a_job_whose_node_is_not_told_may_ask_again(rig):
    record, environment = await rig.submit(node=None)
    assert refused(await rig.fetch(record, environment), Refusal.NOT_YET)
    rig.scheduler.fail_next("status", times=1000)
    rig.run(record)
    assert refused(await rig.fetch(record, environment), Refusal.NOT_YET)
    rig.scheduler.heal()
    await rig.jobs.wait(record.name, lambda r: r.status.nodes)
    assert (await rig.fetch(record, environment)).status == 200


async def test_a_cancelled_job_is_told_to_end(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    rig.scheduler.cancels_work = False
    await rig.jobs.cancel(record.name)
    assert refused(await rig.ready(record, fetched), Refusal.OVER)
    assert refused(await rig.fetch(record, environment), Refusal.OVER)
    assert Refusal.OVER.answer().status == 410
    assert Refusal.OVER.answer().json["action"] == "end"


async def test_a_late_job_of_an_older_start_is_told_to_end(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    rig.scheduler.move(record.job, JobState.CANCELLED)
    await rig.jobs.wait(record.name, lambda r: not r.live)
    newer, _ = await rig.submit()
    assert newer.generation == record.generation + 1
    assert refused(await rig.ready(record, fetched), Refusal.OVER)
    assert refused(await rig.fetch(record, environment), Refusal.OVER)
    await rig.restart()
    assert refused(await rig.ready(record, fetched), Refusal.OVER)
    assert rig.jobs.current(record.owner).address is None


async def test_a_node_that_is_known_by_name_only_is_resolved(rig):
    asked = []

    async def resolve(host):
        asked.append(host)
        return ["10.1.0.3", "127.0.0.1"]

    rig.scheduler.addresses = {"n01": "n01-ib.cluster"}
    await rig.restart()
    rig.rendezvous._resolve = resolve
    await rig.jobs.fresh_snapshot()
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert (await rig.ready(record, fetched)).status == 200
    assert set(asked) == {"n01-ib.cluster"}
    # of several, the one that the job was heard from
    assert rig.jobs.get(record.name).address.address == "127.0.0.1"


# Hostile bodies (B05)

SPAWNER_NAMES = [
    "batch_script", "batch_submit_cmd", "exec_prefix", "ip", "port", "req_options",
    "user_options", "state", "server", "cmd", "args", "notebook_dir", "job_id",
    "__class__", "__init__", "environment", "env_keep", "handler", "hub", "user",
    "generation", "owner", "address", "facts", "phase", "uid", "Job", "nonce ",
]  # fmt: skip


@pytest.mark.parametrize("verb", ["fetch", "ready", "ended"])
async def test_no_other_field_is_taken_whatever_its_name(rig, verb):
    traitlets = pytest.importorskip("jupyterhub.spawner").Spawner.class_trait_names()
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    good = {
        "fetch": {"nonce": NONCE, "proof": environment["LANDBRIDGE_TOKEN"]},
        "ready": {"host": "n01", "port": 41000},
        "ended": {"exit_code": 0},
    }[verb]
    if verb != "fetch":
        good["secret"] = fetched.json["report_secret"]
    if verb == "ready":
        good["fingerprint"] = fetched.json["fingerprint"]
    ours = {"fetch": Fetch, "ready": Ready, "ended": Ended}[verb].model_fields
    names = {*SPAWNER_NAMES, *traitlets} - set(ours)
    assert len(names) > 60
    for name in names:
        body = {"job": record.name, **good, name: "x"}
        assert refused(await rig.call(verb, body), Refusal.MALFORMED), name
    assert (await rig.call(verb, {"job": record.name, **good})).status == 200


@pytest.mark.parametrize("verb", ["fetch", "ready", "ended"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"\xff\xfe",
        b"{" * 5000,
        b"[" * 60_000,
        b'{"job": "a", "job": "b"}',
        b'{"job": "../../x"}',
        b'{"job": "lb-a\\nFAKE LOG LINE"}',
        b'{"job": NaN}',
    ],
)
async def test_malformed_bodies_get_one_fixed_message(rig, verb, body):
    assert refused(await rig.call(verb, body), Refusal.MALFORMED)


async def test_a_large_body_is_refused_unread(rig):
    body = json.dumps({"job": "x" * 1_000_000}).encode()
    assert refused(await rig.call("fetch", body), Refusal.TOO_LARGE)
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    body = {"job": record.name, "secret": fetched.json["report_secret"]}
    answer = await rig.call("ended", body | {"log": "x" * 17_000})
    assert refused(answer, Refusal.MALFORMED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("job", "nonce", "proof", "secret", "host", "port", "fingerprint", "log")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_arbitrary_values_are_refused_and_change_nothing(values):
    body = json.dumps(values).encode()
    for kind in (Fetch, Ready, Ended):
        try:
            report = parse(kind, body)
        except Refused as error:
            assert error.refusal.answer().json["message"] in TELLING
            assert str(values.get("job") or "\0") not in error.detail
        else:
            assert report.job == values["job"]
            assert set(values) <= set(kind.model_fields)


async def test_refusals_leave_nothing_of_the_caller_in_the_log(rig, caplog):
    record, environment = await rig.submit()
    marker = "INJECTED"
    await rig.fetch(record, environment, proof=f"{marker}\n2026 ERROR x")
    await rig.call("fetch", {"job": record.name, marker: 1, "nonce": marker})
    await rig.call("ready", f'{{"job": "{marker}"'.encode())
    assert caplog.records
    assert marker not in caplog.text


def test_a_log_is_cleaned_and_cut():
    assert clean_log("a\x1b[31mred\x1b[0m\x00\x07b\r\nc\rd\u202e") == "aredb\nc\nd"
    assert clean_log("\x1b]0;title\x07text \N{SNOWMAN}\tx") == "text \N{SNOWMAN}\tx"
    assert len(clean_log("x" * 20_000)) == 8192
