"""Which client may do what with the jobs of a gateway: one table.

A client proves itself with a token, which lies in a file of mode 0600 for the client
to read; the service reads the hash beside it and never the token. A service of the
hub's registry says itself what it may have, and why (``Service.jobs``). A notebook
server is no row: its job got a token of its own when it was submitted, which is good
for that user's kernels and ends with the job.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any  # settings of whichever service

from services.common.service import Service
from spawners.batch.errors import InvalidSpec, NotPermitted
from spawners.batch.jobs.wire import SetSubmission, Submission, dump
from spawners.common.files import write_whole
from spawners.common.ownership import read_own
from spawners.common.text import size_in_words

# KIND:USER/ and whatever the kind makes of the rest.
_OWNER = re.compile(r"(?P<whose>[a-z]{1,32}:[^/]{1,255}/)")
_LONGEST_OWNER = 300
_KIND_OF_SERVERS = "server:"
_KIND_OF_KERNELS = "kernel:"
_KERNELS_AT_A_TIME = 64
# Of what a record holds in free text; it is kept in memory, and sent to all who read.
_MOST_WORDS = 256 * 1000


@dataclass(frozen=True, slots=True)
class Client:
    """Who may ask for what.

    Attributes:
        name: in the log, and of the files of its token.
        prefixes: of the owners whose jobs it submits and ends.
        reads_all: whether it sees the jobs of all owners, or only those of its own.
        sends_scripts: whether it may send the text of a batch script and options of
            the scheduler; else a job of its runs the agent, which fetches a launch.
        live: how many jobs it may have at a time.
        live_each: of those, how many of one user.
        account: the only account that its jobs run as; ``None``: any.
        is_job: whether it is a job, and no row of the table: it may come by the edge,
            where a token of the table is good for nothing.
        why: the reason, for whoever reviews the table.
    """

    name: str
    prefixes: tuple[str, ...]
    reads_all: bool
    sends_scripts: bool
    live: int
    live_each: int
    account: str | None = None
    is_job: bool = False
    why: str = ""

    def owns(self, owner: str) -> bool:
        """Whether it submits and ends the jobs of ``owner``, or of that prefix."""
        return owner.startswith(self.prefixes)

    def sees(self, owner: str) -> bool:
        """Whether it may read of the jobs of ``owner``."""
        return self.reads_all or self.owns(owner)


HUB = Client(
    "hub",
    (_KIND_OF_SERVERS,),
    reads_all=True,
    sends_scripts=True,
    live=20_000,
    live_each=200,
    why="Starts notebook servers, by a site's own scripts if it has some, and shows "
    "people and administrators all jobs.",
)
CLIENTS = (HUB,)


def client_of(service: Service[Any]) -> Client | None:
    """Return the row of a service of the hub's registry; ``None`` if it has no jobs."""
    if service.jobs is None:
        return None
    return Client(
        service.name,
        (f"{service.jobs.kind}:",),
        reads_all=False,
        sends_scripts=False,
        live=service.jobs.live,
        live_each=service.jobs.live_each,
        why=service.jobs.why,
    )


def table(services: Iterable[Service[Any]]) -> tuple[Client, ...]:
    """Return all clients: the hub, and each service that has jobs.

    Raises:
        ValueError: two of them, or a job and one of them, would own the same jobs.
    """
    clients = (*CLIENTS, *filter(None, map(client_of, services)))
    kinds = [_KIND_OF_KERNELS, *(kind for row in clients for kind in row.prefixes)]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"two clients have jobs of one kind: {', '.join(kinds)}")
    return clients


def whose(owner: str) -> str:
    """Return the part of an owner's key that says what kind of job, and which user's.

    Raises:
        InvalidSpec: it is no such key.
    """
    match = _OWNER.match(owner)
    if match is None or len(owner) > _LONGEST_OWNER or not owner.isprintable():
        raise InvalidSpec(
            "owner", f"must be KIND:USER/…, of at most {_LONGEST_OWNER} characters."
        )
    return match["whose"]


def check_rights(client: Client, asked: Submission) -> None:
    """Refuse what ``client`` may not submit, whatever the scheduler would say.

    Raises:
        NotPermitted: it is another client's, another user's or the hub's to send.
        InvalidSpec: there is no such owner.
    """
    whose(asked.owner)
    check_size("facts", (asked.facts, asked.vocabulary))
    if not client.owns(asked.owner):
        raise NotPermitted(
            f"{client.name} may not have jobs of {asked.owner[:80]!r}.",
            hint=f"Its owners begin with {' or '.join(client.prefixes)}.",
        )
    if client.account is not None and asked.user != client.account:
        raise NotPermitted(f"{client.name} may not run jobs as {asked.user[:80]!r}.")
    if not client.sends_scripts and (asked.script is not None or asked.options):
        raise NotPermitted(
            f"{client.name} may not send a script or options of the scheduler.",
            hint="Send a launch: its argv runs in the job.",
        )


def check_owners(asked: SetSubmission) -> None:
    """Refuse owners of a set that are not all of one user, or not all different.

    Raises:
        InvalidSpec: naming what they have to be.
    """
    begins = asked.each.owner
    if not all(owner.startswith(begins) for owner in asked.owners):
        raise InvalidSpec("owners", f"must all begin with {begins[:80]!r}.")
    for owner in asked.owners:
        whose(owner)


def check_size(field: str, words: object) -> None:
    """Refuse text for a record that is longer than a record may hold.

    Raises:
        InvalidSpec: naming the field.
    """
    if len(dump(words)) > _MOST_WORDS:
        raise InvalidSpec(field, f"must be at most {size_in_words(_MOST_WORDS)}.")


def of_server(name: str, owner: str, account: str) -> Client | None:
    """Return what the job of a notebook server may do; ``None`` for another's job.

    Args:
        name: the job's.
        owner: the record's.
        account: that it runs as.
    """
    if not owner.startswith(_KIND_OF_SERVERS):
        return None
    user = whose(owner).removeprefix(_KIND_OF_SERVERS)
    return Client(
        f"job {name}",
        (_KIND_OF_KERNELS + user,),
        reads_all=False,
        sends_scripts=False,
        live=_KERNELS_AT_A_TIME,
        live_each=_KERNELS_AT_A_TIME,
        account=account,
        is_job=True,
        why="A notebook server starts its own user's kernels.",
    )


def new_token(name: str) -> str:
    """Return a fresh token of the client, or the job, that is called ``name``."""
    return f"{name}.{secrets.token_urlsafe(32)}"


def named_by(token: str) -> str:
    """Return whose token it says to be."""
    return token.rpartition(".")[0]


def hashed(token: str) -> str:
    """Return what is kept of a token: SHA-256, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


class ClientTokens:
    """The tokens of the table's clients, in files.

    Args:
        directory: ours alone; ``jobs-NAME.token`` is for the client to read, and
            ``jobs-NAME.hash`` for the service.
        clients: the table.
    """

    def __init__(self, directory: Path, clients: Sequence[Client] = CLIENTS) -> None:
        self._directory = directory
        self._clients = {client.name: client for client in clients}

    def ensure(self) -> None:
        """Make a token for each client that has none.

        Raises:
            NotOurs: a file was made by somebody else, or others can read it.
        """
        for name in self._clients:
            if not self.file_of(name).exists() or not self._hash_of(name).exists():
                self.rotate(name)

    def rotate(self, name: str) -> Path:
        """Give a client another token; the last one is good no more.

        Returns the file, which the client reads again when it is refused.

        Raises:
            KeyError: there is no such client.
        """
        token = new_token(self._clients[name].name)
        # First what the client reads: with the old hash it is refused, and asks again.
        write_whole(self.file_of(name), token + "\n")
        write_whole(self._hash_of(name), hashed(token) + "\n")
        return self.file_of(name)

    def file_of(self, name: str) -> Path:
        """Return where a client finds its token."""
        return self._directory / f"jobs-{name}.token"

    @property
    def metrics_file(self) -> Path:
        """Where the token lies of whoever collects numbers; it sees no jobs."""
        return self._directory / "service-metrics.token"

    def client(self, token: str) -> Client | None:
        """Return whose token it is; ``None`` for nobody's.

        Raises:
            NotOurs: the file of the hash is somebody else's.
        """
        client = self._clients.get(named_by(token))
        if client is None:
            return None
        try:
            kept = read_own(self._hash_of(client.name)).decode("ascii").strip()
        except FileNotFoundError:
            return None
        return client if compare_digest(kept, hashed(token)) else None

    def _hash_of(self, name: str) -> Path:
        return self._directory / f"jobs-{name}.hash"
