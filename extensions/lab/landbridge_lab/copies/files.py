"""Files of the home directory, as copies may touch them: below one root, whole or not.

Folders are entered one by one and never through a symbolic link, so that nothing is
written or read outside, whatever changes meanwhile. A file that is being written has
a name of its own (``.NAME.landbridge-part``) and gets its real one when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_NAME = 255
PART = ".landbridge-part"


class FileRefused(Exception):
    """A file cannot be copied; the text says why, without its name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there.

    Attributes:
        size: in bytes.
        modified: seconds since 1970, as the file system has it.
    """

    size: int
    modified: float


def parts_of(path: str) -> tuple[str, ...]:
    """Return the parts of a relative path that names a file or folder below a root.

    Raises:
        FileRefused: it leads elsewhere, or no file can have this name.
    """
    parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    for part in parts:
        if part in ("", ".", ".."):
            raise FileRefused("no file can have a part of this name")
        if "\0" in part or len(os.fsencode(part)) > _LONGEST_NAME:
            raise FileRefused("a part of this name is too long for a file")
    return parts


class Root:
    """The folder that copies may read and write.

    Args:
        path: the notebook server's root directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Open a folder; yield its descriptor.

        Raises:
            FileRefused: there is none, or a link or file is in the way.
        """
        here = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=here)
                try:
                    below = os.open(part, _FOLDER, dir_fd=here)
                except OSError as error:
                    raise FileRefused(
                        f"{part!r} is no folder that can be entered: "
                        f"{error.strerror or error}"
                    ) from None
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def find(self, parts: tuple[str, ...]) -> Found | None:
        """Return a regular file's facts; ``None`` if nothing is there.

        Raises:
            FileRefused: something else is there.
        """
        if not parts:
            raise FileRefused("this is the whole home directory")
        try:
            with self.folder(parts[:-1]) as place:
                status = os.stat(parts[-1], dir_fd=place, follow_symlinks=False)
        except (FileNotFoundError, FileRefused):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused("it is no ordinary file")
        return Found(status.st_size, status.st_mtime)

    def open(self, parts: tuple[str, ...]) -> BinaryIO:
        """Open a regular file for reading.

        Raises:
            FileRefused: it is none, or cannot be read.
        """
        with self.folder(parts[:-1]) as place:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                descriptor = os.open(parts[-1], flags, dir_fd=place)
            except OSError as error:
                is_link = error.errno == errno.ELOOP
                why = "it is a symbolic link" if is_link else str(error.strerror)
                raise FileRefused(why) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileRefused("it is no ordinary file")
        return os.fdopen(descriptor, "rb")

    def walk(self, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield every file below a folder in order; links are not followed.

        What is neither file nor folder is yielded too, to be told of, and so is a
        folder that cannot be read, with the reason; a file's is ``""``.
        """
        try:
            with self.folder(parts) as place, os.scandir(place) as entries:
                children = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                )
        except FileRefused as error:
            yield parts, str(error)
            return
        except OSError as error:
            yield parts, f"this folder cannot be read: {error.strerror or error}"
            return
        for name, is_folder in children:
            if name.endswith(PART):
                continue
            if is_folder:
                yield from self.walk((*parts, name))
            else:
                yield (*parts, name), ""

    def is_folder(self, parts: tuple[str, ...]) -> bool:
        """Whether a folder is there."""
        try:
            with self.folder(parts):
                return True
        except FileRefused:
            return False

    @contextlib.contextmanager
    def writing(self, parts: tuple[str, ...], *, overwrite: bool) -> Iterator[NewFile]:
        """Write a file that appears when the block ends well, and not before.

        Raises:
            FileRefused: something of its name is there and must stay, or it cannot
                be written here.
        """
        with self.folder(parts[:-1], make=True) as place:
            name = parts[-1]
            mark = f".{secrets.token_hex(4)}{PART}"
            # Cut by bytes, or a long name would have no room for the mark.
            stem = os.fsencode(name)[: _LONGEST_NAME - len(mark) - 1]
            part = b"." + stem + mark.encode()
            try:
                descriptor = os.open(part, _NEW, 0o666, dir_fd=place)
            except OSError as error:
                raise FileRefused(f"{error.strerror or error}") from None
            try:
                with os.fdopen(descriptor, "wb") as file:
                    new = NewFile(file)
                    yield new
                    file.flush()
                    if new.modified is not None:
                        os.utime(file.fileno(), (new.modified, new.modified))
                _publish(place, part, name, overwrite=overwrite)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=place)
                raise


@dataclass(slots=True)
class NewFile:
    """A file that is being written; ``modified`` becomes its time."""

    file: BinaryIO
    modified: float | None = None


def _publish(place: int, part: bytes, name: str, *, overwrite: bool) -> None:
    if overwrite:
        try:
            os.rename(part, name, src_dir_fd=place, dst_dir_fd=place)
        except IsADirectoryError:
            raise FileRefused("there is a folder of this name") from None
        return
    try:
        # A rename would replace what is there; a second name does not.
        os.link(part, name, src_dir_fd=place, dst_dir_fd=place)
    except FileExistsError:
        raise FileRefused("there is a file of this name already") from None
    except OSError:
        # This file system knows no second names.
        if _is_there(place, name):
            raise FileRefused("there is a file of this name already") from None
        os.rename(part, name, src_dir_fd=place, dst_dir_fd=place)
    else:
        os.unlink(part, dir_fd=place)


def _is_there(place: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
