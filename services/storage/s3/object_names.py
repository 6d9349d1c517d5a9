r"""Which object names a store keeps as they are, and which it would change or lose.

SeaweedFS 4.48 stores ``a//b``, ``/lead`` and ``a\b`` under another name, so that two
objects overwrite each other; it empties ``trail/``; and it refuses ``.`` and ``..``
as segments and segments over 255 bytes. There such names are refused before anything
is sent. They are never renamed: a name is the user's. Ceph RGW keeps them all.

Rules come from :mod:`~services.storage.site.probe`. They bind writes (put, upload, copy
and move to). What is deleted, or copied from, must be called by its own name: by
another one that the store takes for it (``a//b`` for ``a/b``), an object would go that
nobody meant. Reading takes every name.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import KeyRefused

LONGEST_KEY = 1_024
"""Bytes of UTF-8, by the protocol."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    r"""What a store keeps, seen by trying.

    Attributes:
        empty_segments: ``a//b`` stays apart from ``a/b``.
        leading_slash: ``/lead`` stays apart from ``lead``.
        backslash: ``a\b`` stays apart from ``a/b``.
        trailing_slash_body: ``trail/`` may hold bytes; empty it always may be.
        dot_segments: ``.`` and ``..`` are segments like others.
        control_characters: are kept.
        longest_segment: bytes between two slashes; ``None`` for no limit of its own.
    """

    empty_segments: bool = True
    leading_slash: bool = True
    backslash: bool = True
    trailing_slash_body: bool = True
    dot_segments: bool = True
    control_characters: bool = True
    longest_segment: int | None = None

    @property
    def has_folders(self) -> bool:
        """Whether a folder is there, and listed, without any object in it."""
        return not self.trailing_slash_body

    def check(self, key: str, *, empty: bool = False) -> None:
        """Return if the store would keep ``key`` as it is.

        Args:
            key: to be written.
            empty: nothing will be in it: a folder marker.

        Raises:
            KeyRefused: it would not; the message says which part of it, and why.
        """
        reason = self._problem(key, empty=empty)
        if reason:
            raise KeyRefused(f"This store cannot keep the name {key!r}: {reason}.")

    def check_own(self, key: str) -> None:
        """Return if ``key``, or a prefix, means no object of another name.

        Raises:
            KeyRefused: the store takes it for another name; the message says why.
        """
        reason = self._alias(key)
        if reason:
            raise KeyRefused(
                f"In this store {key!r} is another object's second name: {reason}.",
                hint="Name the object as the list shows it.",
            )

    def keeps(self, key: str) -> bool:
        """Whether ``key`` may hold bytes."""
        return not self._problem(key, empty=False)

    def _problem(self, key: str, *, empty: bool) -> str:
        return _impossible(key) or self._changed(key, empty=empty)

    def _changed(self, key: str, *, empty: bool) -> str:
        """What this store would do to a key that the protocol allows."""
        segments = key.split("/")
        if alias := self._alias(key):
            return alias
        if not self.trailing_slash_body and segments[-1] == "" and not empty:
            return "it ends with a slash, and the store would lose what is in it"
        if not self.dot_segments and {".", ".."} & set(segments):
            return "it has '.' or '..' between slashes"
        if not self.control_characters and any(_control(char) for char in key):
            return "it has a control character"
        return self._too_long(segments)

    def _alias(self, key: str) -> str:
        """How this store would make another name of ``key``."""
        segments = key.split("/")
        if not self.leading_slash and segments[0] == "" and len(segments) > 1:
            return "it begins with a slash, which the store would drop"
        if not self.empty_segments and "" in segments[1:-1]:
            return "it has two slashes in a row, which the store would make one"
        if not self.backslash and "\\" in key:
            return "it has a backslash, which the store would make a slash"
        return ""

    def _too_long(self, segments: list[str]) -> str:
        if self.longest_segment is None:
            return ""
        longest = max(len(segment.encode()) for segment in segments)
        if longest <= self.longest_segment:
            return ""
        return (
            f"a part between slashes has {longest} bytes and "
            f"{self.longest_segment} are the most"
        )


EVERY_KEY = KeyRules()
"""For a store that keeps all names: Ceph RGW, AWS."""


def _impossible(key: str) -> str:
    size = len(key.encode("utf-8", "surrogateescape"))
    if not key:
        return "it is empty"
    if size > LONGEST_KEY:
        return f"it has {size} bytes and {LONGEST_KEY} are the most"
    if any("\ud800" <= char <= "\udfff" for char in key):
        return "it is no UTF-8"
    if "\0" in key:
        return "it holds a NUL character"
    return ""


def _control(char: str) -> bool:
    return char < " " or char == "\x7f"
