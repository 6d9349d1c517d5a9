#!/usr/bin/python3 -I
"""``landbridge-launch``: run one batch command as one user, and nothing else.

The smallest program that has to be trusted where the hub is not root: sudo starts
it as the user, or ssh starts it on a login node. It is one file, needs
Python 3.9 and its standard library, and may be copied anywhere. One JSON object on
standard input, one on standard output, exit code 0 whenever it answered::

    {"version": 1, "operation": "run", "user": "alice", "argv": ["sbatch", ...],
     "environment": {"LANDBRIDGE_JOB": "..."}, "stdin": "<base64>",
     "timeout": 25.0}
    -> {"version": 1, "returncode": 0, "stdout": "<base64>", "stderr": "<base64>"}

    {"version": 1, "operation": "read", "user": "alice", "path": "/home/alice/x.log",
     "max_bytes": 8192}
    -> {"version": 1, "data": "<base64>"}          the last max_bytes of the file

    -> {"version": 1, "error": "<kind>", "message": "..."}

Kinds: ``malformed`` (the request), ``refused`` (account, command or variable),
``unavailable`` (no such program), ``timeout``, ``too_large``,
``missing`` and ``denied`` (the file).

What it does is closed, so that it can be read and judged in ten minutes:

* :data:`DEEDS` says, for each command, every word that it may be given. An option is
  spelled out and has its value after ``=``; none of them names a file on this machine.
* Started as root it becomes the named user, and for questions (``"user": null``) an
  account without rights, ``questions_as``: nothing is ever run as root. Started as
  anybody else it acts as that account and for no other.
* The command gets a named environment, its script by standard input, and a deadline.

What a site may set lies in ``/etc/landbridge/launch.json`` (or ``--config PATH``,
which a sudo rule pins), owned by root and writable by nobody else: see
:class:`Settings`. ``SLURM_CONF`` and the search path come from there alone. Behind
an ssh key with a forced command, ``--sudo`` has sudo start it again as the user.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import grp
import json
import os
import pwd
import re
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
CONFIG = "/etc/landbridge/launch.json"
SUDO = "/usr/bin/sudo"
MAX_REQUEST = 8 * 1024**2
MAX_OUTPUT = 64 * 1024**2
MAX_TAIL = 1024**2
MAX_TIMEOUT = 300.0

USER_NAME = r"[a-z_][a-z0-9_.-]{0,31}"


@dataclass(frozen=True)
class Deed:
    """One command, and every word that it may be given.

    Attributes:
        flags: options without a value.
        options: options with one, written ``--name=value``, and the pattern that
            all of the value matches.
        words: the pattern of what follows the options, joined by single blanks.
        changes: it changes something, and so is done for a named user only.
        reads: it reads the standard input; the others get none.
    """

    flags: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    changes: bool = False
    reads: bool = False


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,127}"  # of a job, cluster, account, QoS
_NAMES = rf"{_NAME}(?:,{_NAME})*"
_JOB = r"[0-9]{1,10}(?:_[0-9]{1,7})?"
_JOBS = rf"{_JOB}(?:,{_JOB})*"
# Tasks of one array: "7_[0-3,9]".
_SPAN = r"[0-9]{1,7}(?:-[0-9]{1,7})?"
_TASKS = rf"[0-9]{{1,10}}_\[{_SPAN}(?:,{_SPAN})*\]"
_ENDED = rf"(?:{_JOB}|{_TASKS})"
_FIELDS = r"[A-Za-z_]+(?::\|)?(?:,[A-Za-z_]+(?::\|)?)*"
_VARIABLES = r"[A-Za-z_][A-Za-z0-9_]*(?:,[A-Za-z_][A-Za-z0-9_]*)*"
# One line without a slash: whatever Slurm makes of it, it names no file.
_VALUE = r"[A-Za-z0-9_.,:;@+=%*&|()\[\]<>!^~ -]{1,1000}"
# A path on the compute node, where the job has its user's rights in any case.
_PLACE = r"/[^\0-\x1f\x7f]{0,3999}"
_SOCKETS = "/run/munge/munge.socket.2", "/var/run/munge/munge.socket.2"

# What the hub asks for, and from the third line on what operators add to a profile.
_SBATCH = """
    --job-name --propagate --signal --nodes --ntasks-per-node --cpus-per-task
    --mem --gres --time --partition --account --qos --reservation --constraint
    --acctg-freq --begin --cluster-constraint --clusters --core-spec --cores-per-socket
    --cpu-freq --cpus-per-gpu --deadline --delay-boot --dependency --distribution
    --exclude --exclusive --gpu-bind --gpu-freq --gpus --gpus-per-node
    --gpus-per-socket --gpus-per-task --hint --kill-on-invalid-dep --licenses
    --mail-type --mail-user --mcs-label --mem-bind --mem-per-cpu --mem-per-gpu
    --mincpus --network --nice --nodelist --ntasks --ntasks-per-core --ntasks-per-gpu
    --ntasks-per-socket --open-mode --oversubscribe --power --prefer --priority
    --sockets-per-node --switches --thread-spec --threads-per-core --time-min --tmp
    --wait-all-nodes --wckey
"""


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEEDS: Mapping[str, Deed] = {
    "squeue": Deed(
        flags=_listed("--noheader --all --array --version"),
        options={
            "--states": "all",
            "--Format": _FIELDS,
            "--name": _NAMES,
            "--user": USER_NAME,
            "--jobs": _JOBS,
            "--clusters": _NAME,
        },
    ),
    "sinfo": Deed(
        flags=_listed("--noheader --Node --all"),
        options={"--Format": _FIELDS},
    ),
    "sacct": Deed(
        flags=_listed("--allocations --noheader --parsable2 --duplicates --allusers"),
        options={
            "--format": _FIELDS,
            "--jobs": _JOBS,
            "--name": _NAMES,
            "--user": USER_NAME,
            "--starttime": r"now-[0-9]{1,3}days",
            "--clusters": _NAME,
        },
    ),
    "scontrol": Deed(
        flags=_listed("--all --oneliner"),
        words="ping|show config|show partition",
    ),
    "sacctmgr": Deed(
        flags=_listed("--noheader --parsable2 --readonly"),
        words="show (?:user|assoc|qos)(?: where| withassoc"
        rf"| (?:name|user|account|cluster)=(?:{_NAMES})?| format={_FIELDS})*",
    ),
    # With --socket, too: see check_command.
    "unmunge": Deed(reads=True),
    "scancel": Deed(
        options={"--clusters": _NAME}, words=rf"{_ENDED}(?: {_ENDED})*", changes=True
    ),
    # The job's script comes by standard input, and never by name.
    "sbatch": Deed(
        flags=_listed(
            """--parsable --test-only --requeue --no-requeue --hold --exclusive
            --contiguous --overcommit --oversubscribe --no-kill --spread-job
            --use-min-nodes"""
        ),
        options={
            **dict.fromkeys(_listed(_SBATCH), _VALUE),
            "--chdir": _PLACE,
            "--output": _PLACE,
            "--export": _VARIABLES,
            "--comment": r"[\x20-\x7e]{1,200}",
            # At most 1,000 equal jobs, each of which the hub has a record of.
            "--array": r"0-[0-9]{1,3}",
        },
        changes=True,
        reads=True,
    ),
}
_BASE64 = r"[A-Za-z0-9+/]*={0,2}"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
# Public facts that our own jobs and clients are given. A site may add to it, but
# not what steers the loader, the shell, Python or Slurm's own clients.
KNOWN_VARIABLE = re.compile(
    r"((LANDBRIDGE|JUPYTERHUB|JUPYTER|AWS|DASK|OPENAI|MLFLOW)_[A-Z0-9_]+"
    r"|TZ|LANG|LC_ALL|SLURM_TIME_FORMAT)\Z"
)
# Some are read on this machine, too; these values name no file of anybody's.
_VARIABLE_VALUES = {
    "SLURM_TIME_FORMAT": re.compile(r"%s\Z"),
    "TZ": re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z][A-Za-z0-9_+-]*){0,2}\Z"),
    "LANG": re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z"),
    "LC_ALL": re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z"),
}
STEERING_VARIABLE = re.compile(
    r"(LD_|PYTHON|BASH|SBATCH_|SLURM_(?!TIME_FORMAT\Z)|SQUEUE_|SINFO_|SACCT_|SCANCEL_"
    r"|MUNGE|GCONV_|GLIBC_|MALLOC_|NLSPATH|LOCPATH)"
    r"|(PATH|HOME|USER|LOGNAME|SHELL|ENV|IFS|TMPDIR|CDPATH|PS4)\Z"
)
Facts = dict[str, Any]
_SHADOW = "/etc/shadow"
_NOBODY = (65534, 65535, 2**32 - 1)
_NO_LOGIN = {"nologin", "false", "sync", "halt", "shutdown"}


class Refused(Exception):
    """The request gets no answer but this; ``kind`` as in the module's docstring."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True)
class Settings:
    """What a site may set.

    Attributes:
        minimum_uid: accounts below it are the system's and are refused.
        group: only members of this group may be acted for; ``""`` for everybody.
        path: directories in which the batch system's commands are looked for.
        slurm_conf: value of ``SLURM_CONF``, or ``""`` for Slurm's own default.
        environment: further variables that a request may carry.
        umask: for the command; Slurm hands it on to the job.
        questions_as: the account that root asks as, when no user is named.
        munge_socket: munged's socket, if it is not where munged puts it.
        sbatch_options: further options of sbatch that a request may carry, as
            ``--name`` or ``--name=value``. Give none that names a file.
    """

    minimum_uid: int = 1000
    group: str = ""
    path: tuple[str, ...] = ("/usr/local/bin", "/usr/bin", "/bin")
    slurm_conf: str = ""
    environment: frozenset[str] = field(default_factory=frozenset)
    umask: int = 0o022
    questions_as: str = "nobody"
    munge_socket: str = ""
    sbatch_options: frozenset[str] = field(default_factory=frozenset)


_DEFAULTS = Settings()


def parse_request(raw: bytes, settings: Settings = _DEFAULTS) -> Facts:
    """Return the request in ``raw`` with every value checked, ``stdin`` decoded.

    Raises:
        Refused: ``malformed``, or ``refused`` for a command outside the closed set.
    """
    try:
        if len(raw) > MAX_REQUEST:
            raise Refused("malformed", f"The request is over {MAX_REQUEST} bytes.")
        given = json.loads(raw, object_pairs_hook=_without_twins)
        keys = _OPERATIONS[given.get("operation")]
    except (ValueError, RecursionError):
        raise Refused("malformed", "The request is no JSON object.") from None
    except (AttributeError, KeyError, TypeError):
        raise Refused("malformed", "The operation must be run or read.") from None
    if odd := set(given) ^ keys:
        names = ", ".join(sorted(repr(key)[:40] for key in odd))
        raise Refused("malformed", f"Missing or unknown: {names[:200]}.")
    for key, value in given.items():
        if not _CHECKS[key](value):
            raise Refused("malformed", f"{key} is not usable.")
    if given["operation"] == "run":
        given["stdin"] = base64.b64decode(given["stdin"])
        check_command(given["argv"], as_user=given["user"] is not None, site=settings)
        check_input(given["argv"][0], given["stdin"], given["environment"], settings)
    elif given["user"] is None:
        raise Refused("refused", "Files are read as a user only.")
    return given  # type: ignore[no-any-return]


def _without_twins(pairs: list[tuple[str, Any]]) -> Facts:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("holds a key twice.")
    return dict(pairs)


def _is_text(value: object, limit: int, pattern: str = r"[^\0\ud800-\udfff]*") -> bool:
    fits = isinstance(value, str) and len(value) <= limit
    return fits and re.fullmatch(pattern, str(value), re.DOTALL) is not None


def _is_argv(value: object) -> bool:
    fits = isinstance(value, list) and 1 <= len(value) <= 2000
    return fits and all(_is_text(item, 32_768) for item in value)  # type: ignore[attr-defined]


def _is_environment(value: object) -> bool:
    fits = isinstance(value, dict) and len(value) <= 200
    pairs = value.items() if fits else ()  # type: ignore[attr-defined]
    return fits and all(_VARIABLE.match(k) and _is_text(v, 131_000) for k, v in pairs)


_COMMON = {"version", "operation", "user"}
_OPERATIONS = {
    "run": _COMMON | {"argv", "environment", "stdin", "timeout"},
    "read": _COMMON | {"path", "max_bytes"},
}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "version": lambda v: type(v) is int and v == VERSION,
    "operation": lambda v: v in _OPERATIONS,
    "user": lambda v: v is None or _is_text(v, 32, USER_NAME),
    "argv": _is_argv,
    "environment": _is_environment,
    "stdin": lambda v: _is_text(v, MAX_REQUEST, _BASE64) and len(v) % 4 == 0,
    "timeout": lambda v: type(v) in (int, float) and 0 < v <= MAX_TIMEOUT,
    "path": lambda v: _is_text(v, 4000) and v.startswith("/"),
    "max_bytes": lambda v: type(v) is int and 1 <= v <= MAX_TAIL,
}


def check_command(
    argv: list[str], *, as_user: bool, site: Settings = _DEFAULTS
) -> None:
    """Refuse all that :data:`DEEDS` does not name, and changes by no named user.

    Every option is compared whole: no abbreviation, no short form, no value in a
    word of its own. The words that follow hold no blank and begin with no hyphen.

    Raises:
        Refused: ``refused``, naming what is not run.
    """
    name, rest = argv[0], list(argv[1:])
    deed = DEEDS.get(name)
    if deed is None or (deed.changes and not as_user):
        raise Refused("refused", f"{name[:40]!r} is not run here.")
    while rest and rest[0].startswith("-"):
        if not _is_option(name, deed, rest[0], site):
            hint = " Root may add it to sbatch_options." if name == "sbatch" else ""
            raise Refused("refused", f"{name} is not run with {rest[0][:60]!r}.{hint}")
        del rest[0]
    words = " ".join(rest)
    if any(re.search(r"\s|^-|^$", word) for word in rest) or not re.fullmatch(
        deed.words, words, re.ASCII
    ):
        raise Refused("refused", f"{name} is not run with the words {words[:60]!r}.")


def _is_option(name: str, deed: Deed, item: str, site: Settings) -> bool:
    option, equals, value = item.partition("=")
    if not equals and item in deed.flags:
        return True
    if name == "unmunge":
        return item in {f"--socket={s}" for s in (*_SOCKETS, site.munge_socket) if s}
    if name == "sbatch" and option in site.sbatch_options:
        return value.isprintable()
    pattern = deed.options.get(option)
    return bool(equals and pattern and re.fullmatch(pattern, value, re.ASCII))


def check_input(
    name: str, stdin: bytes, variables: Mapping[str, str], site: Settings
) -> None:
    """Refuse input and variables that the command has no use for.

    Raises:
        Refused: ``refused``, naming them.
    """
    if stdin and not DEEDS[name].reads:
        raise Refused("refused", f"{name} reads nothing.")
    if name == "sbatch" and not stdin.startswith(b"#!"):
        raise Refused("refused", "A job's script begins with #! and an interpreter.")
    for variable, value in variables.items():
        known = KNOWN_VARIABLE.match(variable) or variable in site.environment
        jobs_own = name == "sbatch" or variable == "SLURM_TIME_FORMAT"
        if STEERING_VARIABLE.match(variable) or not (known and jobs_own):
            raise Refused("refused", f"The variable {variable[:60]} is not passed on.")
        pattern = _VARIABLE_VALUES.get(variable)
        if pattern and not pattern.match(value):
            raise Refused("refused", f"The variable {variable} has no usable value.")


def find_account(name: str, settings: Settings) -> pwd.struct_passwd:
    """Return the account called ``name``, if it is a person's.

    Raises:
        Refused: it is unknown, the system's, cannot log in or is not in the group.
    """
    try:
        entry = pwd.getpwnam(name)
        group = grp.getgrnam(settings.group).gr_gid if settings.group else entry.pw_gid
    except (KeyError, ValueError):
        raise Refused("refused", f"There is no account {name[:40]!r}.") from None
    if entry.pw_name != name:
        raise Refused("refused", f"{name!r} is another account's second name.")
    today = int(time.time() // 86_400)
    if fault := account_fault(entry, settings.minimum_uid, shadow_of(name), today):
        raise Refused("refused", f"{name} {fault}.")
    if group not in os.getgrouplist(name, entry.pw_gid):
        raise Refused("refused", f"{name} is not in the group {settings.group}.")
    return entry


# The next two are in spawners/common/accounts.py, word for word: a test compares them.


def account_fault(
    entry: pwd.struct_passwd, lowest_uid: int, shadow: list[str], today: int
) -> str:
    """Return why no person may use the account, or ``""``.

    Args:
        entry: the account.
        lowest_uid: accounts below are the system's.
        shadow: the fields of its line in ``/etc/shadow``; none if it has none.
        today: days since 1970.
    """
    system = entry.pw_uid < max(1, lowest_uid) or entry.pw_gid == 0
    if system or entry.pw_uid in _NOBODY:
        return "is not the account of a person"
    if entry.pw_shell.rpartition("/")[2] in _NO_LOGIN:
        return "is not the account of a person: it has no login shell"
    if len(shadow) < 8:
        return ""
    # "!" before a password locks it. Alone it says that there is none, as of accounts
    # that are used by key or through an identity provider.
    if shadow[1].startswith("!") and shadow[1].strip("!*"):
        return "is locked"
    days = [int(x) if x.isascii() and x.isdigit() else -1 for x in shadow]
    if 0 <= days[7] <= today:
        return "has expired"
    changed, most, grace = days[2], days[4], days[6]
    set_once = changed > 0 and min(most, grace) >= 0
    if set_once and today > changed + most + grace:
        return "has expired with its password"
    return ""


def shadow_of(name: str) -> list[str]:
    """Return the fields of the account's line in ``/etc/shadow``.

    ``[]`` where we may not read it, or the account is a directory's: then the hub's
    PAM or the directory itself has to tell.
    """
    try:
        with os.fdopen(os.open(_SHADOW, os.O_RDONLY), errors="replace") as file:
            found = [line for line in file if line.startswith(name + ":")]
    except OSError:
        return []
    return found[0].rstrip("\n").split(":") if found else []


def find_asker(settings: Settings) -> pwd.struct_passwd:
    """Return who asks when no user is named: ourselves, but never root.

    Raises:
        Refused: we are root, and there is no other account to ask as.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        entry = pwd.getpwnam(settings.questions_as)
    except (KeyError, ValueError):
        entry = None
    if entry is None or entry.pw_uid == 0 or entry.pw_gid == 0:
        raise Refused("refused", "No question is asked as root: see questions_as.")
    return entry


def become(account: pwd.struct_passwd) -> None:
    """Give up root for good and be ``account``; as anybody else, check that we are.

    Raises:
        Refused: we are neither root nor that account.
    """
    uid, gid = account.pw_uid, account.pw_gid
    if os.geteuid() == 0:
        os.setgroups(os.getgrouplist(account.pw_name, gid))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    elif (os.geteuid(), os.getuid()) != (uid, uid):
        own = pwd.getpwuid(os.geteuid()).pw_name
        raise Refused("refused", f"Started as {own}, this acts for nobody else.")


def environment_of(account: pwd.struct_passwd, path: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that every command gets, of the account and no more."""
    return {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "PATH": ":".join(path),
        "LC_ALL": "C.UTF-8",
    }


def output_of(argv: Sequence[str]) -> str:
    """Return the file that a node would open for the job's output, ``""`` for none.

    One whose name the scheduler completes is nobody's before the job has its number.
    """
    names = [item[9:] for item in argv if item.startswith("--output=")]
    path = names[-1] if argv[0] == "sbatch" and names else ""
    return "" if "%" in path or path == os.devnull else path


def output_fault(path: str, mode: int, owner: int, uid: int) -> str:
    """Return why a node must not open ``path`` for a job of ``uid``, or ``""``.

    A FIFO would hold the node's daemon until that is killed by hand, and what goes to
    a link or to another's file is theirs to read.
    """
    if stat.S_ISREG(mode) and owner == uid:
        return ""
    return (
        f"{path} is no regular file of this account, so it cannot hold the job's "
        "output. Move it away or remove it, then start again."
    )


def run(request: Facts, account: pwd.struct_passwd, settings: Settings) -> Facts:
    """Run the command as the account that we now are, and return the answer."""
    argv, wanted = request["argv"], request["environment"]
    candidates = [f"{directory}/{argv[0]}" for directory in settings.path]
    program = next((c for c in candidates if os.access(c, os.X_OK)), None)
    if program is None:
        raise Refused("unavailable", f"There is no {' nor '.join(candidates)}.")
    environment = environment_of(account, settings.path)
    if settings.slurm_conf:
        environment["SLURM_CONF"] = settings.slurm_conf
    if path := output_of(argv):
        with contextlib.suppress(OSError):  # not there yet, or the node's to judge
            found = os.lstat(path)
            if fault := output_fault(path, found.st_mode, found.st_uid, os.getuid()):
                raise Refused("refused", fault)
    os.umask(settings.umask)
    with os.fdopen(os.memfd_create("stdin"), "r+b", buffering=0) as source:
        source.write(request["stdin"])
        source.seek(0)
        try:
            process = subprocess.Popen(
                [program, *argv[1:]],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, **wanted},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Refused("unavailable", f"{argv[0]}: {error.strerror}.") from None
    with process:
        try:
            out, err = _listen(process, request["timeout"])
        finally:
            if process.returncode is None:  # with all that it started
                os.killpg(process.pid, signal.SIGKILL)
    coded = [base64.b64encode(text).decode() for text in (out, err)]
    return {"returncode": process.returncode, "stdout": coded[0], "stderr": coded[1]}


def _listen(process: subprocess.Popen[bytes], timeout: float) -> list[bytearray]:
    """Return what the process wrote to its two outputs, and let it end."""
    deadline = time.monotonic() + timeout
    outputs: list[bytearray] = []
    try:
        with selectors.DefaultSelector() as selector:
            for stream in (process.stdout, process.stderr):
                outputs.append(bytearray())
                selector.register(stream, selectors.EVENT_READ, outputs[-1])  # type: ignore[arg-type]
            while selector.get_map():
                ready = selector.select(max(0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    raise Refused("timeout", f"No answer within {timeout:g} s.")
                for key, _ in ready:
                    piece = os.read(key.fd, 65_536)
                    key.data.extend(piece)
                    if not piece:
                        selector.unregister(key.fileobj)
                if sum(map(len, outputs)) > MAX_OUTPUT:
                    raise Refused("too_large", f"It wrote over {MAX_OUTPUT} bytes.")
        process.wait(max(0.01, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Refused("timeout", f"No end within {timeout:g} s.") from None
    return outputs


def read_tail(path: str, max_bytes: int) -> bytes:
    """Return the last ``max_bytes`` of a regular file, read as who we are.

    Raises:
        Refused: ``missing``; or ``denied``, for what is unreadable, no regular file
            or a symbolic link.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise Refused("denied", "Not a regular file.")
            file.seek(max(0, facts.st_size - max_bytes))
            return file.read(max_bytes)
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise Refused("missing" if gone else "denied", f"{error.strerror}.") from None


def load_settings(path: str, *, required: bool) -> Settings:
    """Read the site's file; the defaults when it is missing and not ``required``.

    Raises:
        Refused: it can be written by others than root, or holds anything odd.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
            return _settings(os.fstat(file.fileno()), file.read(65_536))
    except FileNotFoundError:
        if required:
            raise Refused("unavailable", f"{path} is missing.") from None
        return Settings()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("unavailable", f"{path}: {error}") from None


def _settings(facts: os.stat_result, raw: bytes) -> Settings:
    if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022:
        raise ValueError("must be writable by root alone.")
    given = json.loads(raw, object_pairs_hook=_without_twins)
    kinds = {key: type(value) for key, value in vars(Settings()).items()}
    for key, value in given.items():
        kind = kinds.get(key)
        texts = isinstance(value, list) and all(isinstance(v, str) for v in value)
        if texts and kind in (tuple, frozenset):
            given[key] = kind(value)
        elif type(value) is not kind or kind in (tuple, frozenset):
            raise TypeError(f"{key[:40]!r} is unknown or of the wrong type.")
    return Settings(**given)


def answer(raw: bytes, settings: Settings) -> Facts:
    """Do what the request in ``raw`` asks and return the answer's facts."""
    request = parse_request(raw, settings)
    if request["user"] is None:
        account = find_asker(settings)
    else:
        account = find_account(request["user"], settings)
    become(account)
    if request["operation"] == "run":
        return run(request, account, settings)
    data = read_tail(request["path"], request["max_bytes"])
    return {"data": base64.b64encode(data).decode()}


def hand_over(raw: bytes, settings: Settings) -> None:
    """Have sudo start this program as the user; return if the request names none.

    For an account behind a forced command. It acts for no user by itself, not even
    for its own account, whose files hold the key that it is restricted by.

    Raises:
        Refused: the request or its account is refused, or there is no sudo.
    """
    user = parse_request(raw, settings)["user"]
    if user is None:
        return
    if find_account(user, settings).pw_uid == os.geteuid():
        raise Refused("refused", f"{user} is this program's own account.")
    source = os.memfd_create("request")
    with os.fdopen(os.dup(source), "wb") as file:
        file.write(raw)
    os.lseek(source, 0, os.SEEK_SET)
    os.dup2(source, 0)
    own = os.path.abspath(sys.argv[0])  # noqa: PTH100 - as the sudo rule names it
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        os.execve(SUDO, [SUDO, "-n", "-u", user, "--", own], environment)  # noqa: S606
    except OSError as error:
        raise Refused("unavailable", f"{SUDO}: {error.strerror}.") from None


def main() -> int:
    """Answer one request; see the module's docstring."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description="Run one batch command as one user.")
    parser.add_argument("--config", help=f"settings, instead of {CONFIG}")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    parser.add_argument(
        "--sudo", action="store_true", help="for users, let sudo start it again"
    )
    options = parser.parse_args()
    config = options.config
    try:
        settings = load_settings(config or CONFIG, required=config is not None)
        raw = sys.stdin.buffer.read(MAX_REQUEST + 1)
        if options.sudo:
            hand_over(raw, settings)
        facts = answer(raw, settings)
    except Refused as refusal:
        facts = {"error": refusal.kind, "message": str(refusal)}
    json.dump({"version": VERSION, **facts}, sys.stdout)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
