"""A route's function says by its signature what is sent and answered."""

from __future__ import annotations

import pytest

from services.common.web.routes import Call, Model, Route


class Wish(Model):
    """What is wanted."""

    colour: str


class Gift(Model):
    """What there is."""

    size: int


async def give(shop: object, call: Call, query: Wish, body: Gift) -> Gift:
    """Give it."""
    return body


async def show(shop: object, call: Call) -> Gift:
    """Show it."""
    return Gift(size=1)


async def without_an_answer(shop: object, call: Call):
    """Forgets to say what it answers."""


async def without_a_model(shop: object, call: Call, body: dict[str, str]) -> Gift:
    """Takes just anything."""
    return Gift(size=len(body))


async def with_a_word_of_its_own(shop: object, call: Call, wish: Wish) -> Gift:
    """Wants what no request has."""
    return Gift(size=len(wish.colour))


def test_models_are_those_of_the_signature():
    route: Route[object] = Route("POST", "gifts", give, "scope")
    assert (route.query, route.body, route.answer) == (Wish, Gift, Gift)
    assert (route.name, route.summary, route.tag) == (
        "give",
        "Give it.",
        "test signatures",
    )


def test_a_call_may_take_nothing():
    route: Route[object] = Route("GET", "gifts", show, "scope")
    assert (route.query, route.body, route.answer) == (None, None, Gift)


@pytest.mark.parametrize(
    "run", [without_an_answer, without_a_model, with_a_word_of_its_own]
)
def test_what_is_no_signature_of_a_call_does_not_get_into_the_table(run):
    with pytest.raises(TypeError, match=run.__name__):
        Route("GET", "gifts", run, "scope")
