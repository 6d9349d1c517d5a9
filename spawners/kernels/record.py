"""What is remembered of a kernel's job, on disk, before there is a job.

One JSON file per kernel, 0600 in a 0700 directory, replaced whole. It holds the
kernel's keys, so it is for its user's eyes only; with it a later process finds the
kernel again (:meth:`KernelRecords.all`, :func:`~.start.adopt`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spawners.batch.models import BatchJob, new_job_name
from spawners.common.files import write_whole

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """One kernel and its job.

    Attributes:
        kernel_id: jupyter_client's id.
        kernel_name: the kernelspec's name.
        owner: whose kernel it is: a notebook server's own name for itself, or ``""``
            for a program such as nbclient, whose kernels nobody adopts.
        name: the job's random name.
        user: the account.
        asked: the choice of resources as it was resolved, canonical.
        job: identity, once the scheduler answered.
        fingerprint, key, certificate: of this kernel's tunnel; PEM.
        token: one-time proof, where there is no munge.
        near: directory of the near end's sockets.
        home_port: where the launcher dials home.
        far_address, far_port: where the launcher listens, once it told.
        connection: HMAC ``key`` and ``signature_scheme`` of the kernel's messages.
        launch: what the launcher is to start: argv, env, cwd.
        lease: seconds for which the job outlives its owner in any case.
        keep_until: until then it outlives its owner, ISO in UTC; ``""`` if not kept.
        output: path of the job's log, ``""`` for none.
        home_addresses: where the launcher was told to dial.
        uncertain: the scheduler's answer to the submission was lost.
        ending: somebody wants the job's end.
    """

    kernel_id: str
    kernel_name: str
    owner: str
    name: str
    user: str
    created: str
    asked: Mapping[str, str | int]
    near: str
    fingerprint: str = ""
    key: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    connection: Mapping[str, str] = field(default_factory=dict, repr=False)
    launch: Mapping[str, Any] = field(default_factory=dict, repr=False)
    job: BatchJob | None = None
    home_port: int = 0
    far_address: str = ""
    far_port: int = 0
    lease: float = 300.0
    keep_until: str = ""
    output: str = ""
    home_addresses: tuple[str, ...] = ()
    uncertain: bool = False
    ending: bool = False

    @property
    def kept(self) -> datetime | None:
        """Until when its user keeps it; ``None`` if not, or no longer."""
        until = datetime.fromisoformat(self.keep_until) if self.keep_until else None
        return until if until is not None and until > datetime.now(UTC) else None

    @property
    def keep_seconds(self) -> float:
        """For how long from now its user keeps it."""
        until, now = self.kept, datetime.now(UTC)
        return 0.0 if until is None else max(0.0, (until - now).total_seconds())

    def to_json(self) -> str:
        """Return it as text, for its user only."""
        data = asdict(self)
        if self.job is not None and self.job.submitted is not None:
            data["job"]["submitted"] = self.job.submitted.isoformat()
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> KernelRecord:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: it is damaged, or of another release.
        """
        try:
            data = json.loads(text)
            job = data.pop("job")
            if job is not None:
                if job["submitted"] is not None:
                    job["submitted"] = datetime.fromisoformat(job["submitted"])
                job = BatchJob(**job)
            if set(data) - {each.name for each in fields(cls)}:
                raise ValueError("it has fields of another release")
            data["home_addresses"] = tuple(data["home_addresses"])
            if data.get("keep_until"):
                datetime.fromisoformat(data["keep_until"])  # raises if it is none
            return cls(**data, job=job)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from error


def new_record(
    kernel_id: str,
    asked: Mapping[str, str | int],
    connection: Mapping[str, Any],
    **fields: Any,
) -> KernelRecord:
    """Return the record of a kernel that is to be started.

    Args:
        kernel_id: jupyter_client's.
        asked: the choice of resources, canonical.
        connection: what the manager knows of the kernel's connection.
        fields: ``kernel_name``, ``owner``, ``user``, ``near``, ``lease``.
    """
    key = connection.get("key", b"")
    return KernelRecord(
        kernel_id=kernel_id,
        name=new_job_name(),
        created=datetime.now(UTC).isoformat(),
        asked=dict(asked),
        connection={
            "key": key.decode() if isinstance(key, bytes) else str(key),
            "signature_scheme": str(connection.get("signature_scheme", "hmac-sha256")),
        },
        **fields,
    )


def from_now(seconds: float) -> str:
    """Return a moment for ``keep_until``; none for 0."""
    if seconds <= 0:
        return ""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


class KernelRecords:
    """The records in one directory.

    Args:
        directory: made if missing, for its owner alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, record: KernelRecord) -> None:
        """Write a record, whole and at once on disk."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        write_whole(self._path(record.kernel_id), record.to_json())

    def load(self, kernel_id: str) -> KernelRecord | None:
        """Return a kernel's record, ``None`` if there is none.

        Raises:
            ValueError: it is damaged, or others can write it.
        """
        path = self._path(kernel_id)
        try:
            with path.open(encoding="utf-8") as file:
                facts = os.fstat(file.fileno())
                if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
                    raise ValueError(f"{path} is open to others.")
                return KernelRecord.from_json(file.read())
        except FileNotFoundError:
            return None

    def all(self, owner: str | None = None) -> list[KernelRecord]:
        """Return the readable records, of one owner if named, oldest first."""
        found = []
        names = self._directory.glob("*.json") if self._directory.is_dir() else ()
        for path in names:
            with contextlib.suppress(ValueError, OSError):
                record = self.load(path.stem)
                if record is not None and owner in (None, record.owner):
                    found.append(record)
        return sorted(found, key=lambda record: record.created)

    def remove(self, kernel_id: str) -> None:
        """Forget a kernel whose job is over."""
        path = self._path(kernel_id)
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)

    def claim(self, kernel_id: str) -> int | None:
        """Lock a kernel for this process; ``None`` while another process has it.

        Returns:
            A descriptor; closing it, or the end of the process, gives it up.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(kernel_id).with_suffix(".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks: then nobody can tell
            return descriptor
        return descriptor

    def is_abandoned(self, kernel_id: str) -> bool:
        """Tell whether no process has the kernel; False where nobody can tell."""
        path = self._path(kernel_id).with_suffix(".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def _path(self, kernel_id: str) -> Path:
        if not _ID.match(kernel_id):
            raise ValueError(f"{kernel_id[:40]!r} is no kernel's id.")
        return self._directory / f"{kernel_id}.json"
