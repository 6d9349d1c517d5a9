"""Where processes of the gateway listen. Read this before you open a socket.

**A port on a shared machine is no identity.** Every account of the machine reaches
loopback, and whoever comes first may listen at a port that is free: while a process
of ours is being started again, a stranger who waits for its port gets the requests of
users, with their cookies and tokens. So:

1. A service listens on a Unix socket and nowhere else. The hub names it
   (``LANDBRIDGE_SOCKET``); it has mode 0600 and lies in a directory of mode 0700 that
   is ours. HAProxy has a backend for each service that is fixed to that socket
   (``EdgeConfig.services``): no map and no route can lead elsewhere.
2. A service reaches the hub, and another service, by their sockets: its token is worth
   as much as its rights.
3. What must be a port, because it is reached from other machines or by programs that
   know nothing else, is held (:mod:`.held_ports`): bound without a gap for as long as
   we live, so that a crash of who listens there opens no door. Where it cannot be
   held, it is proved before each use by TLS with a certificate of our own, or is one
   that only root can bind.
4. A port that somebody else has ends the start, loudly. It is never left for another
   one while a program may still know its number.

``tests/journeys/front_door/test_sockets_of_a_gateway.py`` sweeps every listening
socket of a running gateway: a new one that is not in its list fails there, until its
reason is.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import string
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

from .file_lock import locked_within
from .ownership import own_directory

LONGEST_PATH = 107
"""The most bytes of a Unix socket's path, unix(7)."""

_SCHEME = "http+unix"
_SERVICES = "services.landbridge.internal"
_PLAIN = frozenset((string.ascii_lowercase + string.digits).encode())
_BACKLOG = 512
_PATIENCE_SECONDS = 15.0


def service_url(name: str) -> str:
    """Return the URL that JupyterHub knows a service by, for its table of routes.

    It is a name and no address: our proxy knows the socket, and nobody else asks.
    """
    return f"http://{name}.{_SERVICES}"


def service_of_url(url: str) -> str | None:
    """Return the service that :func:`service_url` named; ``None`` for others."""
    name, dot, domain = (urlsplit(url).hostname or "").partition(".")
    return name if dot and domain == _SERVICES else None


def short_path(path: Path, longest: int = LONGEST_PATH) -> Path:
    """Return the path of a socket, or one that the kernel can hold.

    Of a deep directory the socket goes to a directory of our account's own under the
    system's temporary one, always the same for the same directory: who is started
    anew, or is a later release, finds what still listens there.

    Args:
        path: where it would be.
        longest: bytes that it may have; less than the kernel's most where who listens
            there binds a longer name first.

    Raises:
        NotOurs: somebody else has made that directory.
    """
    fits = len(os.fsencode(path)) <= longest
    return path if fits else _short_directory(path.parent) / path.name


def short_way(path: Path, link: str, longest: int = LONGEST_PATH) -> Path:
    """Return a path that the kernel can hold to a socket that another process makes.

    It makes it in its own directory, so what is short is a link ``link`` to there.

    Raises:
        NotOurs: somebody else has made the directory for it.
    """
    if len(os.fsencode(path)) <= longest:
        return path
    way = _short_directory(path.parent) / link
    if not way.is_symlink() or way.readlink() != path.parent:
        way.unlink(missing_ok=True)
        way.symlink_to(path.parent)
    return way / path.name


def _short_directory(directory: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"landbridge-{os.geteuid()}-{digest}"
    own_directory(short)
    return short


class SocketTaken(OSError):
    """Somebody else listens where we should; the text says what to do."""


def url_of_socket(path: Path | str) -> str:
    """Return the URL by which JupyterHub's own HTTP client reaches a socket.

    All but small letters and digits is percent-encoded: that client makes what stands
    for a host small, and a path is not the same in small letters.
    """
    raw = os.fsencode(path)
    return f"{_SCHEME}://" + "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw
    )


def socket_of_url(url: str) -> str | None:
    """Return the path of the socket that ``url`` names; ``None`` if it names none."""
    parts = urlsplit(url)
    return unquote(parts.netloc) if parts.scheme == _SCHEME else None


def is_deserted(path: Path | str) -> bool:
    """Whether it is certain that no process listens at a socket's path.

    A process that is slow, stands still or has its queue full does listen, and where
    it cannot be told somebody may.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 -- the library's own
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


class ListeningSocket:
    """A Unix socket that is ours for as long as this process lives, or until closed.

    ::

        async with ListeningSocket(path) as listener:
            server.add_socket(listener.socket)

    What a dead process left there is replaced. Two of ours never listen at the same
    path: a lock beside it, which ends with its process, says whose turn it is.
    """

    def __init__(self, path: Path, *, patience_seconds: float = _PATIENCE_SECONDS):
        self.path = path
        self._patience = patience_seconds
        self._lock: int | None = None
        self._socket: socket.socket | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket, which listens."""
        assert self._socket is not None  # noqa: S101 -- only inside `async with`
        return self._socket

    async def __aenter__(self) -> ListeningSocket:
        """Wait for our turn and listen.

        Raises:
            SocketTaken: a live process listens there, or the place is not ours.
        """
        _check_directory(self.path.parent)
        self._lock = await self._locked()
        try:
            _clear(self.path)
            self._socket = _bound(self.path)
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self.close()

    def close(self) -> None:
        """Listen no more, and let the next process listen; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self.path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _locked(self) -> int:
        place = self.path.with_name(f"{self.path.name}.lock")
        lock = await locked_within(place, self._patience)
        if lock is None:
            raise SocketTaken(
                f"Another process of the gateway listens at {self.path} and "
                "does not end: end it, or use another state directory."
            )
        return lock


def _check_directory(directory: Path) -> None:
    facts = directory.lstat()
    if (
        not stat.S_ISDIR(facts.st_mode)
        or facts.st_uid != os.geteuid()
        or stat.S_IMODE(facts.st_mode) & 0o077
    ):
        raise SocketTaken(
            f"{directory} is no directory that only this account may enter: "
            "its sockets would be anybody's. Make it so (chmod 700), or remove it."
        )


def _clear(path: Path) -> None:
    """Remove the socket of a dead process; refuse what lives or is no socket."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise SocketTaken(f"{path} is no socket, so it is not replaced: remove it.")
    if is_deserted(path):
        path.unlink(missing_ok=True)
        return
    raise SocketTaken(f"A process that is not ours listens at {path}: end it.")


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is right from the first moment on, not a moment later.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.setblocking(False)  # noqa: FBT003 -- the library's own
    listener.listen(_BACKLOG)
    return listener
