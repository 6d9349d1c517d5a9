"""Inputs for a parser: bytes, JSON, and its own samples with pieces changed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

_WORDS = (b"\0", b"\n", b"|", b"[", b"]", b"{", b"}", b'"', b"<", b">", b"%", b"..")
_WORDS += (b"-1", b"0", b"9" * 30, b"1e999", b"NaN", b"null", b"\xff", b"\xed\xa0\x80")
_WORDS += ("\u202e".encode(), "\u2028".encode(), b"&a;", b"<!DOCTYPE a>", b"$(id)")
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for a parser that takes ``seeds``."""
    return st.one_of(
        st.binary(max_size=300),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
        _JSON.map(_as_json),
        *(_changed(seed) for seed in seeds),
        *(_refilled(seed) for seed in seeds if _is_object(seed)),
    )


def _as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def _changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """Cut, doubled, and with odd words put in."""
    place = st.integers(0, len(seed))
    word = st.sampled_from(_WORDS) | st.binary(max_size=4)

    def change(changes: list[tuple[int, int, bytes]]) -> bytes:
        text = seed
        for start, length, word in changes:
            text = text[:start] + word + text[start + length :]
        return text

    one = st.tuples(place, st.integers(0, 40), word)
    return st.lists(one, min_size=1, max_size=4).map(change)


def _is_object(seed: bytes) -> bool:
    try:
        return isinstance(json.loads(seed), dict)
    except ValueError:
        return False


def _refilled(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed's own names with other values."""
    known = json.loads(seed)
    return st.fixed_dictionaries({}, optional=dict.fromkeys(known, _JSON)).map(
        lambda values: _as_json({**known, **values})
    )
