"""What the edge lets between users' servers and browsers: cookies and headers.

A user's server answers on the gateway's own host, unless each has one of its own. So
its answers may say nothing that a browser takes for a word of the whole host.
"""

from __future__ import annotations

SESSION_COOKIE = "jupyterhub-session-id"
# What signs a browser in elsewhere: no server of a user's has any use for it.
_ELSEWHERE = "jupyterhub-hub-login|jupyterhub-services|service-[^=; ]*"
_ELSEWHERE_WORDS = "jupyterhub-hub-login= jupyterhub-services= service-"
# A cookie's attribute of this name, with a value or without.
_ATTRIBUTE = r";[[:space:]]*(?:{})[[:space:]]*(?:=|;|$)"
# After the server's own path and a blank: a cookie without a name or host of others ...
_COOKIE = (
    r"(?i)^(/[^ ]*) (?![[:space:]]*"
    r"(?:__Host-|jupyterhub-session-id|jupyterhub-hub-login))"
    rf"(?!.*{_ATTRIBUTE.format('domain')})"
)
# ... whose last path is that path or one below it, or which says none.
_OWN_COOKIE = (
    rf"{_COOKIE}(.*;[[:space:]]*path[[:space:]]*=[[:space:]]*\1(?:/[^;]*)?[[:space:]]*"
    rf"(?:(?!{_ATTRIBUTE.format('path')});[^;]*)*)$"
)
_PLAIN_COOKIE = rf"{_COOKIE}(?!.*{_ATTRIBUTE.format('path')})(.*)$"
# Headers that speak for the whole origin or host, whichever page they come with.
_FOR_ALL = (
    "service-worker-allowed",
    "clear-site-data",
    "strict-transport-security",
    "nel",
    "report-to",
    "alt-svc",
    "set-login",
    "use-as-dictionary",
    "sec-session-registration",
    "secure-session-registration",
)


def facts(base_url: str) -> dict[str, object]:
    """Return what the templates of the configuration need to know of it.

    Args:
        base_url: what all paths begin with.
    """
    return {
        "session_cookie": SESSION_COOKIE,
        "elsewhere": _ELSEWHERE,
        "elsewhere_words": _ELSEWHERE_WORDS,
        "own_cookie": _OWN_COOKIE,
        "plain_cookie": _PLAIN_COOKIE,
        "for_all": _FOR_ALL,
        # of a path below it: the path of the user's servers
        "own_path": f"field(1,/,{base_url.count('/') + 2})",
    }
