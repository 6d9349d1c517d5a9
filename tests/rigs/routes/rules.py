"""Who may do what: every route of the gateway, declared. What is not here is refused.

A route is named as Tornado has it. For each of its methods stand the scopes of which
one is needed for the user, group or service in the path; a method without a row is
for nobody. A route that the running gateway has and this table has not fails the
sweep, and so does a row for which there is no route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERYBODY = frozenset({"(everybody)"})
"""Also who is not signed in."""
ANYBODY = frozenset({"(anybody)"})
"""Whoever the hub knows: a session, or a token of any scope. Tells of oneself only."""
PERSON = frozenset({"(person)"})
"""A user's browser, and no token: a page about herself."""
PROVEN = frozenset({"(proven)"})
"""Judged by what the body proves; nothing that a sweep can send is enough."""

Needs = frozenset[str]


def one_of(*scopes: str) -> Needs:
    """Return what it takes to have one of these scopes."""
    return frozenset(scopes)


@dataclass(frozen=True)
class Rule:
    """One route.

    Attributes:
        path: one that it serves; ``{user}`` is whose it is.
        needs: by method.
        streams: the answer does not end.
    """

    path: str
    needs: Mapping[str, Needs] = field(default_factory=dict)
    streams: bool = False

    @property
    def of_one(self) -> bool:
        """Whether the path says whose it is; else it is about who asks."""
        return "{user}" in self.path


def api(path: str, streams: bool = False, **needs: str | Needs) -> Rule:
    """Return the rule of an API route; ``GET="read:users"`` is short for one scope.

    ``OPTIONS`` is everybody's: it answers what methods there are, and nothing else.
    """
    table = {"OPTIONS": EVERYBODY}
    for method, need in needs.items():
        table[method] = frozenset({need}) if isinstance(need, str) else need
    return Rule(f"/hub/api/{path}", table, streams)


def page(path: str, get: Needs = EVERYBODY, post: Needs | None = None) -> Rule:
    """Return the rule of a page."""
    return Rule(path, {"GET": get, **({"POST": post} if post else {})})


def files(path: str) -> Rule:
    """Return the rule of files that everybody may read."""
    return Rule(path, {"GET": EVERYBODY, "HEAD": EVERYBODY})


_ONE = r"([^/]+)"
_OPTIONAL = r"([^/]*)"

HUB: Mapping[str, Rule] = {
    r"/(robots\.txt)$": files("/robots.txt"),
    r"/(favicon\.ico)$": files("/favicon.ico"),
    r"/hub/static/(.*)$": files("/hub/static/css/style.min.css"),
    r"/hub/landbridge/static/(.*)$": files("/hub/landbridge/static/landbridge.css"),
    r"/hub/logo$": files("/hub/logo"),
    r"/hub/login$": page("/hub/login", post=PROVEN),
    r"/hub/logout$": page("/hub/logout"),
    r"/hub$": page("/hub"),
    r"/hub/$": page("/hub/"),
    r"/hub/error/(\d+)$": page("/hub/error/503"),
    r"/hub/health$": files("/hub/health"),
    r"/hub/api/health$": files("/hub/api/health"),
    r"/(user|services)/([^/]+)$": page("/user/{user}"),
    r"(?!/hub/).*$": page("/elsewhere"),
    r"(.*)$": Rule("/hub/elsewhere"),
    r"/hub/api/(.*)$": api("elsewhere"),
    r"/hub/home$": page("/hub/home", PERSON),
    r"/hub/token$": page("/hub/token", PERSON),
    r"/hub/admin$": page("/hub/admin", one_of("admin-ui")),
    r"/hub/spawn$": page("/hub/spawn", PERSON, one_of("servers")),
    r"/hub/spawn/([^/]+)$": page(
        "/hub/spawn/{user}", one_of("servers"), one_of("servers")
    ),
    r"/hub/spawn/([^/]+)/([^/]+)$": page(
        "/hub/spawn/{user}/second", one_of("servers"), one_of("servers")
    ),
    r"/hub/spawn-pending/([^/]+)$": page(
        "/hub/spawn-pending/{user}", one_of("servers")
    ),
    r"/hub/spawn-pending/([^/]+)/([^/]+)$": page(
        "/hub/spawn-pending/{user}/second", one_of("servers")
    ),
    r"/hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?$": page(
        "/hub/user/{user}/lab", one_of("access:servers", "servers")
    ),
    r"/hub/user-redirect/(.*)?$": page("/hub/user-redirect/lab", PERSON),
    r"/hub/visit$": page(
        "/hub/visit?next=/user/{user}/lab",
        one_of("access:servers"),
        one_of("access:servers"),
    ),
    r"/hub/accept-share$": page("/hub/accept-share", PERSON, PERSON),
    r"/hub/security/csp-report$": Rule("/hub/security/csp-report", {"POST": ANYBODY}),
    r"/hub/metrics$": page("/hub/metrics", one_of("read:metrics")),
    r"/hub/api/metrics$": page("/hub/api/metrics", one_of("read:metrics")),
    r"/hub/api/?$": api("", GET=EVERYBODY),
    r"/hub/api/info$": api("info", GET="read:hub"),
    r"/hub/api/shutdown$": api("shutdown", POST="shutdown"),
    r"/hub/api/proxy$": api("proxy", GET="proxy", POST="proxy", PATCH="proxy"),
    r"/hub/api/authorizations/cookie/([^/]+)(?:/([^/]+))?$": api(
        "authorizations/cookie/name/value"
    ),
    # Tells whose a token is to whoever holds one; gone in JupyterHub's next release.
    r"/hub/api/authorizations/token/([^/]+)$": api(
        "authorizations/token/unknown", GET=ANYBODY
    ),
    r"/hub/api/authorizations/token$": api("authorizations/token"),
    r"/hub/api/oauth2/authorize$": page("/hub/api/oauth2/authorize", PERSON, PERSON),
    r"/hub/api/oauth2/token$": api("oauth2/token", POST=PROVEN),
    r"/hub/api/user$": api("user", GET=ANYBODY),
    r"/hub/api/users$": api("users", GET="list:users", POST="admin:users"),
    r"/hub/api/users/([^/]+)$": api(
        "users/{user}",
        GET=one_of(
            "read:users",
            "read:users:name",
            "read:users:groups",
            "read:users:activity",
            "read:roles:users",
            "read:servers",
        ),
        POST="admin:users",
        DELETE="delete:users",
        PATCH="admin:users",
    ),
    **{
        rf"/hub/api/users/([^/]+)/{pattern}$": api(
            f"users/{{user}}/{path}",
            GET="read:servers",
            POST="start:servers",
            PUT="start:servers",
            PATCH="start:servers",
            DELETE="delete:servers",
        )
        for pattern, path in (("server", "server"), (r"servers/([^/]*)", "servers/x"))
    },
    r"/hub/api/users/([^/]+)/server/progress$": api(
        "users/{user}/server/progress", streams=True, GET="read:servers"
    ),
    r"/hub/api/users/([^/]+)/servers/([^/]*)/progress$": api(
        "users/{user}/servers/x/progress", streams=True, GET="read:servers"
    ),
    r"/hub/api/users/([^/]+)/tokens$": api(
        "users/{user}/tokens", GET="read:tokens", POST="tokens"
    ),
    r"/hub/api/users/([^/]+)/tokens/([^/]*)$": api(
        "users/{user}/tokens/a999", GET="read:tokens", DELETE="tokens"
    ),
    r"/hub/api/users/([^/]+)/activity$": api(
        "users/{user}/activity", POST="users:activity"
    ),
    r"/hub/api/users/([^/]+)/admin-access$": api(
        "users/{user}/admin-access", POST="servers"
    ),
    r"/hub/api/groups$": api("groups", GET="list:groups", POST="admin:groups"),
    r"/hub/api/groups/([^/]+)$": api(
        "groups/crew",
        GET=one_of("read:groups", "read:groups:name", "read:roles:groups"),
        POST="admin:groups",
        DELETE="delete:groups",
    ),
    r"/hub/api/groups/([^/]+)/users$": api(
        "groups/crew/users", POST="groups", DELETE="groups"
    ),
    r"/hub/api/groups/([^/]+)/properties$": api("groups/crew/properties", PUT="groups"),
    r"/hub/api/services$": api("services", GET="list:services"),
    r"/hub/api/services/([^/]+)$": api(
        "services/storage",
        GET=one_of("read:services", "read:services:name", "read:roles:services"),
        POST="admin:services",
        DELETE="admin:services",
    ),
    **{
        rf"/hub/api/shares/([^/]+){pattern}$": api(
            f"shares/{{user}}{path}",
            GET="read:shares",
            POST="shares",
            PATCH="shares",
            DELETE="shares",
        )
        for pattern, path in (("", ""), (r"/([^/]*)", "/x"))
    },
    **{
        rf"/hub/api/share-codes/([^/]+){pattern}$": api(
            f"share-codes/{{user}}{path}",
            GET="read:shares",
            POST="shares",
            DELETE="shares",
        )
        for pattern, path in (("", ""), (r"/([^/]*)", "/x"))
    },
    r"/hub/api/users/([^/]+)/shared$": api(
        "users/{user}/shared", GET="read:users:shares"
    ),
    r"/hub/api/groups/([^/]+)/shared$": api(
        "groups/crew/shared", GET="read:groups:shares"
    ),
    r"/hub/api/users/([^/]+)/shared/([^/]+)/([^/]*)$": api(
        "users/{user}/shared/owner/x", GET="read:users:shares", DELETE="users:shares"
    ),
    r"/hub/api/groups/([^/]+)/shared/([^/]+)/([^/]*)$": api(
        "groups/crew/shared/owner/x",
        GET="read:groups:shares",
        DELETE="groups:shares",
    ),
    # The gateway's own.
    r"/hub/api/landbridge/servers$": api("landbridge/servers", GET="read:servers"),
    r"/hub/api/landbridge/servers/([^/]+)$": api(
        "landbridge/servers/{user}", GET="read:servers"
    ),
    r"/hub/api/landbridge/servers/([^/]+)/progress$": api(
        "landbridge/servers/{user}/progress", GET="read:servers"
    ),
    r"/hub/api/landbridge/servers/([^/]+)/([^/]+)/progress$": api(
        "landbridge/servers/{user}/x/progress", GET="read:servers"
    ),
    r"/hub/api/landbridge/cluster$": api("landbridge/cluster", GET="read:servers"),
    r"/hub/api/landbridge/usage$": api(
        "landbridge/usage", GET="read:servers", POST="users:activity"
    ),
    r"/hub/api/landbridge/spawn-page$": api(
        "landbridge/spawn-page", GET="read:servers"
    ),
    r"/hub/api/landbridge/preview$": api("landbridge/preview", POST="servers"),
    r"/hub/api/landbridge/accounts/refused$": api(
        "landbridge/accounts/refused", GET="read:users:name"
    ),
    r"/hub/api/landbridge/accounts/known$": api(
        "landbridge/accounts/known", POST="read:users:name"
    ),
    r"/hub/api/landbridge/job$": api("landbridge/job", GET=ANYBODY),
}

_STORAGE_WRITES = {"uploads", "uploads/parts"}  # GET, and of one's own writing
_STORAGE_READS = {"objects/count", "urls/download", "credentials", "credentials/{id}"}
STORAGE_PAGES: Mapping[str, Rule] = {
    "": page("", EVERYBODY),  # to somebody who is not signed in: the way to do so
    "link/([A-Za-z0-9_-]{20,64})": page("link/" + 20 * "a", EVERYBODY),
    "content": page("content", EVERYBODY),
    "preview": page("preview", EVERYBODY),
    "health": files("health"),
    "metrics": page("metrics", PROVEN),
    "oauth_callback": page("oauth_callback", PROVEN),
    "api/v1/openapi.json": page("api/v1/openapi.json", EVERYBODY),
}


def storage_scope(method: str, path: str) -> str:
    """Return the scope that a call of the storage service needs."""
    if path in _STORAGE_READS:
        return "custom:storage:read"
    if method == "GET" and path not in _STORAGE_WRITES:
        return "custom:storage:read"
    if path.startswith(("shares", "links")):
        return "custom:storage:share"
    return "custom:storage:write"


SERVER: Mapping[str, Mapping[str, Needs]] = {
    "": {"GET": EVERYBODY},  # leads to the page that asks who one is
    "api": {"GET": EVERYBODY, "OPTIONS": EVERYBODY},  # Jupyter's version
    **{
        path: {
            **dict.fromkeys(
                ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
                one_of("access:servers"),
            ),
            "OPTIONS": EVERYBODY,
        }
        for path in (
            "lab",
            "api/me",
            "api/status",
            "api/contents",
            "api/sessions",
            "api/kernels",
            "api/kernelspecs",
            "api/terminals",
            "landbridge/jobs",
            "files/x",
        )
    },
}
"""Some addresses of a notebook server, by path below its own."""

# Not sent where it would be let in: it would end or start what the sweep counts.
ENDS_THINGS = frozenset(
    {
        ("GET", r"/hub/logout$"),
        ("POST", r"/hub/api/shutdown$"),
        ("DELETE", r"/hub/api/users/([^/]+)$"),
        ("DELETE", r"/hub/api/users/([^/]+)/server$"),
        ("DELETE", r"/hub/api/groups/([^/]+)$"),
        ("POST", r"/hub/api/users/([^/]+)$"),
        ("POST", r"/hub/api/groups/([^/]+)$"),
        ("POST", r"/hub/api/proxy$"),
        ("POST", r"/hub/spawn$"),
        ("POST", r"/hub/spawn/([^/]+)$"),
        ("POST", r"/hub/spawn/([^/]+)/([^/]+)$"),
        ("GET", r"/hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?$"),
    }
)

# Who may ask these by a token must be answered, or the sweep would praise a gateway
# that refuses everybody.
MUST_ANSWER = frozenset(
    ("GET", pattern)
    for pattern in (
        r"/hub/api/user$",
        r"/hub/api/users$",
        r"/hub/api/users/([^/]+)$",
        r"/hub/api/users/([^/]+)/tokens$",
        r"/hub/api/groups$",
        r"/hub/api/groups/([^/]+)$",
        r"/hub/api/services$",
        r"/hub/api/proxy$",
        r"/hub/api/info$",
        r"/hub/api/shares/([^/]+)$",
        r"/hub/api/landbridge/servers/([^/]+)$",
        r"/hub/metrics$",
    )
)
