"""The page about the jobs service's REST has every call and every error."""

import inspect
import re

from rigs.checkout import CHECKOUT
from services.jobs import handlers
from services.jobs.handlers import make_application
from spawners.batch.jobs import wire
from spawners.batch.jobs.wire import CODES

PAGE = (CHECKOUT / "docs" / "reference" / "jobs-api.md").read_text()


def calls():
    """Yield method and path of each call of a client."""
    application = make_application(None, None, ("/agents",))
    for rule in application.wildcard_router.rules:
        path = rule.matcher.regex.pattern
        if path.startswith("/agents/"):
            continue
        place = "user" if path.startswith("/v1/users") else "name"
        path = re.sub(r"\(.*?\)", f"{{{place}}}", path.rstrip("$"))
        for method in ("get", "put", "post", "delete"):
            if method in vars(rule.target):
                yield method.upper(), path


def test_every_call_is_told():
    told = {
        tuple(words.partition("?")[0].split())
        for words in re.findall(r"^\| `([A-Z]+ /[^`]+)`", PAGE, re.M)
    }
    assert told == set(calls())


def test_every_error_is_told_with_its_status():
    told = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.M)
    ours = {(code, str(status)) for status, code in CODES.values()}
    outdated = handlers.Outdated
    ours |= {(outdated.code, str(outdated.status)), ("not-signed-in", "401")}
    assert set(told) == ours


def test_what_it_calls_by_name_is_there():
    bodies = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE)) - {"JobsApi"}
    places = {**vars(wire), **vars(handlers)}
    known = {name for name, value in places.items() if inspect.isclass(value)}
    others = {"ClusterSnapshot", "UserLimits"}
    assert bodies - others <= known
