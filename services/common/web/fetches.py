"""What a browser says of a request by itself, and which requests are no page of ours.

On one origin a page of a user's server may send what it likes with the cookies of
whoever looks at it, may name any address as its own (``history.pushState``, the
``referrer`` of a fetch), and may read every answer. What it cannot do is lie in
``Sec-Fetch-*``. So pages, which hold the token that every change needs, are given to
whole windows alone, and never to a frame, a script or a worker; and no other page can
reach into a window of ours (``Cross-Origin-Opener-Policy``).
"""

from __future__ import annotations

from collections.abc import Mapping

_WINDOWS = ("", "document", "empty")  # of a navigation; a download's is "empty"
_OURS = ("", "none", "same-origin")


def refusal(
    method: str, headers: Mapping[str, str], *, page: bool, by_token: bool
) -> str:
    """Return why a request is not answered, in words; ``""`` if it may be.

    Programs, and browsers where the gateway has no TLS, send no such headers.

    Args:
        method: of the request.
        headers: its headers, found whatever their capitals.
        page: whether the answer is a page for people, not data for scripts.
        by_token: it carries a token of its own; cookies say nothing then.
    """
    if headers.get("Service-Worker"):
        return "Pages of the gateway have no service worker."
    mode, site = headers.get("Sec-Fetch-Mode", ""), headers.get("Sec-Fetch-Site", "")
    kind = headers.get("Sec-Fetch-Dest", "")
    if mode == "navigate":
        return "" if kind in _WINDOWS else "The gateway is not shown in other pages."
    if not mode or by_token or method == "OPTIONS":
        return ""
    if site not in _OURS:
        return "Pages of other sites may not ask this."
    if page and kind != "report":  # which the browser itself sends
        return "This page is opened in a window, not asked by a script."
    if mode == "no-cors" and kind in ("", "empty"):
        return "Scripts ask in another way than this."
    return ""
