"""Proofs of jobs: parsing on recorded output, and the real munged."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from rigs.batch.rendezvous import private_munge
from spawners.batch.errors import AuthenticationBroken
from spawners.batch.rendezvous.proofs import (
    Completed,
    Identity,
    MungeVerifier,
    ProofRefused,
    TokenVerifier,
    digest,
    matches,
    new_secret,
    parse_unmunge,
    payload,
    run_here,
)

# munge 0.5.15, `unmunge --socket=…`, root on Debian 12.
RECORDED = """\
STATUS:          Success (0)
ENCODE_HOST:     localhost (127.0.0.1)
ENCODE_TIME:     2026-11-24 14:08:37 +0000 (1795529317)
DECODE_TIME:     2026-11-24 14:08:37 +0000 (1795529317)
TTL:             300
CIPHER:          aes128 (4)
MAC:             sha256 (5)
ZIP:             none (0)
UID:             alice (1001)
GID:             alice (1001)
LENGTH:          17

"""
SAID = payload("lb-one", "n" * 32)


@pytest.fixture(scope="module")
def munge(tmp_path_factory):
    with private_munge(tmp_path_factory.mktemp("munge")) as socket:
        yield socket


def credential(socket, text, *options):
    done = subprocess.run(
        ["munge", f"--socket={socket}", *options],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def test_the_uid_is_read_from_recorded_output():
    assert parse_unmunge(RECORDED + SAID, SAID) == Identity(1001, "alice")


def test_a_uid_without_a_name_is_read():
    text = RECORDED.replace("alice (1001)", "1001")
    assert parse_unmunge(text + SAID, SAID) == Identity(1001)


@pytest.mark.parametrize(
    "text",
    [
        "",
        RECORDED,
        RECORDED + SAID + " ",
        RECORDED + payload("lb-two", "n" * 32),
        RECORDED + payload("lb-one", "m" * 32),
        RECORDED.replace("Success (0)", "Replayed credential (17)") + SAID,
        RECORDED.replace("UID: ", "XID: ") + SAID,
        # what a caller writes below the empty line is never metadata
        RECORDED.replace("UID: ", "XID: ") + "\nUID: root (0)\n\n" + SAID,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ProofRefused):
        parse_unmunge(text, SAID)


async def test_a_real_credential_proves_its_maker_once(munge):
    verifier = MungeVerifier(socket=munge)
    made = credential(munge, SAID)
    assert (await verifier.identity(made, SAID)).uid == os.getuid()
    with pytest.raises(ProofRefused, match="17"):
        await verifier.identity(made, SAID)


async def test_a_credential_for_another_job_is_refused(munge):
    verifier = MungeVerifier(socket=munge)
    made = credential(munge, payload("lb-two", "n" * 32))
    with pytest.raises(ProofRefused, match="another request"):
        await verifier.identity(made, SAID)


async def test_an_expired_credential_is_refused(munge):
    verifier = MungeVerifier(socket=munge)
    made = credential(munge, SAID, "--ttl=1")
    encoded = time.time()
    while time.time() < encoded + 2:  # munge counts in whole seconds of the clock
        await asyncio.sleep(0.1)
    with pytest.raises(ProofRefused, match="15"):
        await verifier.identity(made, SAID)


@pytest.mark.parametrize(
    "made",
    ["", "x", "MUNGE:", "MUNGE:" + "A" * 9000, "MUNGE:" + "A" * 64 + "\n--help", "-h"],
)
async def test_what_is_no_credential_never_reaches_a_command(made):
    async def run(argv, stdin):
        raise AssertionError(argv)

    with pytest.raises(ProofRefused):
        await MungeVerifier(run).identity(made, SAID)


async def test_forged_bytes_are_refused_by_munge(munge):
    made = credential(munge, SAID).strip()
    middle = len(made) // 2
    forged = made[:middle] + ("A" if made[middle] != "A" else "B") + made[middle + 1 :]
    with pytest.raises(ProofRefused):
        await MungeVerifier(socket=munge).identity(forged, SAID)


async def test_a_missing_daemon_is_an_operators_trouble(munge):
    made = credential(munge, SAID)
    with pytest.raises(AuthenticationBroken, match="munged"):
        await MungeVerifier(socket=munge + "-gone").identity(made, SAID)


async def test_a_missing_program_is_an_operators_trouble():
    with pytest.raises(AuthenticationBroken, match="cannot be run"):
        await run_here(["/nonexistent/unmunge"], b"")


async def test_a_command_that_hangs_is_given_up_and_ended(monkeypatch):
    monkeypatch.setattr("spawners.batch.rendezvous.proofs._TIMEOUT_SECONDS", 0.2)
    with pytest.raises(AuthenticationBroken, match="did not answer"):
        await run_here([sys.executable, "-c", "import time; time.sleep(60)"], b"")


async def test_an_unknown_exit_code_is_not_a_refusal():
    async def run(argv, stdin):
        return Completed(6, "", "unmunge: Error: Failed to access socket")

    with pytest.raises(AuthenticationBroken, match="Failed to access"):
        await MungeVerifier(run).identity("MUNGE:" + "A" * 64 + ":", SAID)


def test_tokens_are_random_and_kept_as_hashes():
    token, stored = TokenVerifier().new_token()
    TokenVerifier().check(token, stored)
    assert token not in stored
    assert len({new_secret() for _ in range(100)}) == 100
    for wrong in ("", token + "x", stored, new_secret()):
        with pytest.raises(ProofRefused):
            TokenVerifier().check(wrong, stored)


def test_a_hash_that_was_never_set_matches_nothing():
    assert not matches("", "")
    assert not matches("x", "")
    assert matches("x", digest("x"))
