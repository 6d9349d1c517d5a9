"""JupyterHub's URL rules: each method takes what its address gives it."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest
from jupyterhub import apihandlers, handlers
from tornado import web
from tornado.web import RequestHandler

from hub.mended import mended

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def misfits(rules) -> list[str]:
    """Methods that would end in a TypeError, which is answered by 500."""
    found = []
    for pattern, kind, *_ in rules:
        compiled = re.compile(pattern)
        named = dict.fromkeys(compiled.groupindex)
        given = [] if named else [None] * compiled.groups
        for name in METHODS:
            method = getattr(kind, name)
            if method is getattr(RequestHandler, name):
                continue
            try:
                inspect.signature(method).bind(None, *given, **named)
            except TypeError:
                found.append(f"{name} {pattern}")
    return found


RULES = [*handlers.default_handlers, *apihandlers.default_handlers]


def test_every_method_takes_what_its_address_gives():
    assert misfits(mended(RULES)) == []


def test_this_finds_what_is_wrong_in_jupyterhub_itself():
    """Once a newer JupyterHub has none, `hub/mended.py` can go."""
    assert misfits(RULES) == ["post /api/authorizations/token/([^/]+)"]


NAMELESS = r"/api/authorizations/token"
OTHERS = [rule for rule in mended(RULES) if rule[0] != NAMELESS]


def test_reading_what_is_not_named_is_a_404():
    kind = next(rule[1] for rule in mended(RULES) if rule[0] == NAMELESS)
    with pytest.raises(web.HTTPError) as refused:
        asyncio.run(kind.get(None))
    assert refused.value.status_code == 404


@pytest.mark.parametrize("rule", OTHERS, ids=lambda rule: rule[0])
def test_reading_stays_as_it_is(rule):
    original = next(
        one for one in RULES if one[0] == rule[0] and one[1] in rule[1].__mro__
    )
    assert rule[1].get is original[1].get
