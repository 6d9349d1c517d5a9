"""How a started job proves that it is the job it says it is.

* ``munge`` (:class:`MungeVerifier`): the job's node encodes a payload that names the
  job; decoding it on the hub's side tells the uid that made it, once. There is no
  shared secret, and nothing to steal from the job's script or environment.
* ``token`` (:class:`TokenVerifier`), for sites without munge: a random token in the
  job's environment, valid once and only from the job's node. Only its hash is kept.

Both bind the request's nonce, so that a request whose answer was lost can be sent
again and nobody else can use it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..errors import AuthenticationBroken

_TIMEOUT_SECONDS = 10.0
# unmunge(1) ends with munge's own error number; these say "this credential is not
# one", from EMUNGE_BAD_ARG to EMUNGE_CRED_UNAUTHORIZED in munge.h. Others (no
# socket, no daemon) are troubles of the machine.
_NOT_A_CREDENTIAL = frozenset({2, 3, *range(8, 19)})
_CREDENTIAL = re.compile(r"MUNGE:[A-Za-z0-9+/=:]{16,8192}\Z")
_UID_LINE = re.compile(r"^UID:\s+(?:(\S+) \((\d+)\)|(\d+))\s*$", re.MULTILINE)
_STATUS_LINE = re.compile(r"^STATUS:\s+.*?\(?0\)?\s*$", re.MULTILINE)


class ProofRefused(Exception):
    """The proof does not hold. Why is for the log only, never for the caller."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command answered: its exit code and its two outputs."""

    exit_code: int
    stdout: str
    stderr: str


# Runs argv with a standard input; whoever provides it bounds its time.
Run = Callable[[Sequence[str], bytes], Awaitable[Completed]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made a credential: a uid, and the login name where it is known."""

    uid: int
    user: str = ""


def payload(job: str, nonce: str) -> str:
    """Return what a credential for fetching must say, byte for byte.

    The agent builds the same text. The job's name is random and never used twice,
    so it also stands for the job's generation.
    """
    return f"landbridge/1 fetch {job} {nonce}"


def digest(secret: str) -> str:
    """Return the hash under which a random secret is stored: SHA-256, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored: str) -> bool:
    """Compare a secret with its stored hash in constant time; "" matches nothing."""
    return bool(stored) and hmac.compare_digest(digest(secret), stored)


def new_secret() -> str:
    """Return 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


async def run_here(argv: Sequence[str], stdin: bytes) -> Completed:
    """Run a command on this machine, for at most ten seconds.

    Raises:
        AuthenticationBroken: it is not installed or does not answer.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise AuthenticationBroken(
            f"{argv[0]} cannot be run: {error.strerror}.",
            hint="Install munge on the hub's machine, or set jobs.proof to 'token'.",
        ) from error
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            out, err = await process.communicate(stdin)
    except TimeoutError as error:
        raise AuthenticationBroken(
            f"{argv[0]} did not answer within {_TIMEOUT_SECONDS:.0f} seconds.",
            hint="Check that munged is running.",
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = process.returncode if process.returncode is not None else -1
    return Completed(
        code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    )


class MungeVerifier:
    """Decodes credentials with ``unmunge``.

    Args:
        run: where ``unmunge`` runs; by default on this machine.
        socket: munged's socket, or ``None`` for the standard one.
        concurrent: how many may run at once; the rest wait.
    """

    def __init__(
        self, run: Run = run_here, *, socket: str | None = None, concurrent: int = 4
    ) -> None:
        self._run = run
        self._argv = ["unmunge", *([f"--socket={socket}"] if socket else [])]
        self._slots = asyncio.Semaphore(concurrent)

    async def identity(self, credential: str, expected: str) -> Identity:
        """Return who made ``credential``, which must hold exactly ``expected``.

        Raises:
            ProofRefused: it is forged, expired, used before, or holds other text.
            AuthenticationBroken: munge cannot be asked.
        """
        credential = credential.strip()
        if not _CREDENTIAL.match(credential):
            raise ProofRefused("not a munge credential")
        async with self._slots:
            done = await self._run(self._argv, credential.encode("ascii"))
        if done.exit_code in _NOT_A_CREDENTIAL:
            raise ProofRefused(f"unmunge ended with {done.exit_code}")
        if done.exit_code != 0:
            raise AuthenticationBroken(
                f"unmunge failed ({done.exit_code}): {done.stderr.strip()[:300]}",
                hint="Check that munged is running on the hub's machine.",
            )
        return parse_unmunge(done.stdout, expected)


def parse_unmunge(text: str, expected: str) -> Identity:
    """Read what ``unmunge`` printed for a valid credential (munge 0.5.15).

    Lines ``KEY: value`` come first, then an empty line, then the payload as it is;
    only lines above the first empty one are trusted, as the rest is the caller's.

    Raises:
        ProofRefused: no success, no uid, or another payload.
    """
    metadata, separator, body = text.partition("\n\n")
    uid = _UID_LINE.search(metadata)
    if not separator or uid is None or not _STATUS_LINE.search(metadata):
        raise ProofRefused("unmunge printed something else than expected")
    if body != expected:
        raise ProofRefused("the credential was made for another request")
    return Identity(int(uid[2] or uid[3]), uid[1] or "")


class TokenVerifier:
    """Checks one-time tokens against their stored hash.

    It decides whether a token is the right one; that it is used once and from the
    job's node is the rendezvous' to see, which knows nodes and earlier requests.
    """

    def new_token(self) -> tuple[str, str]:
        """Return a fresh token for a job's environment, and the hash to store."""
        token = new_secret()
        return token, digest(token)

    def check(self, token: str, stored: str) -> None:
        """Accept ``token`` if its hash is ``stored``.

        Raises:
            ProofRefused: it is not.
        """
        if not matches(token, stored):
            raise ProofRefused("not this job's token")
