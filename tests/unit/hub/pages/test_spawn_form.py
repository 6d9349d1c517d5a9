"""The spawn page's form: remembered, linked, and safe to draw."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from hub.pages import spawn_form as spawnpage
from hub.pages.fields import SchedulerFacts
from hub.pages.spawn_form import (
    build_form,
    cluster_table,
    limits_in_words,
    linked_values,
    options_form,
)
from rigs.hub.cluster_pictures import CPU, GPU, LIMITS, NOW, picture
from spawners.batch.errors import SchedulerUnavailable
from spawners.notebooks.options import Requester
from spawners.profiles.profiles import Profile, Profiles

SMALL = Profile.model_validate(
    {"key": "small", "title": "Small", "default": True, "resources": {"cpus": 1}}
)
BIG = Profile.model_validate(
    {
        "key": "big",
        "title": "Big",
        "resources": {"cpus": 4, "memory": "8 GB", "gpus": 2, "time_limit": "2h"},
        "choices": {"cpus": {"min": 1, "max": 8}, "time_limit": {"max": "4h"}},
    }
)
KNOWN = SchedulerFacts(picture(CPU, GPU), LIMITS)


def form(stored: object = None, linked: object = None) -> spawnpage.Form:
    return build_form(
        [SMALL, BIG],
        KNOWN,
        stored=stored or {},  # type: ignore[arg-type]
        linked=linked or {},  # type: ignore[arg-type]
    )


def value(made: spawnpage.Form, profile: str, name: str) -> str:
    card = next(card for card in made.profiles if card.key == profile)
    return next(field.value for field in card.fields if field.name == name)


def test_the_marked_profile_is_chosen_the_first_time() -> None:
    assert form().chosen == "small"
    assert not form().prefilled


def test_the_last_choice_is_remembered() -> None:
    made = form(stored={"profile": "big", "cpus": 3, "time_limit": 3600})
    assert made.chosen == "big"
    assert value(made, "big", "cpus") == "3"
    assert value(made, "big", "time_limit") == "1h"


def test_a_link_goes_before_what_is_remembered() -> None:
    made = form(
        stored={"profile": "big", "cpus": 3}, linked={"profile": "big", "cpus": "5"}
    )
    assert made.prefilled
    assert value(made, "big", "cpus") == "5"


def test_what_is_remembered_of_one_profile_is_not_put_into_another() -> None:
    made = form(stored={"profile": "small", "cpus": 3}, linked={"profile": "big"})
    assert value(made, "big", "cpus") == "4"


def test_a_profile_that_is_gone_is_not_chosen() -> None:
    assert form(stored={"profile": "gone"}).chosen == "small"
    assert form(linked={"profile": "<script>"}).chosen == "small"


def test_a_card_tells_what_the_profile_asks_for() -> None:
    card = form().profiles[1]
    assert card.chips == ("4 CPUs", "8 GB", "2 GPUs", "2 h")


def handler(query: dict[str, list[bytes]], method: str = "GET") -> SimpleNamespace:
    request = SimpleNamespace(method=method, query_arguments=query)
    return SimpleNamespace(request=request)


def test_a_link_fills_in_known_names_only() -> None:
    asked = handler(
        {
            "opt-profile": [b"gpu"],
            "cpus": [b"2"],
            "opt-command": [b"rm"],
            "opt-environment": [b"x"],
            "next": [b"//evil.example"],
            "_xsrf": [b"x"],
        }
    )
    assert linked_values(asked) == {"profile": "gpu", "cpus": "2"}


@pytest.mark.parametrize(
    "text",
    [b"1\n#SBATCH --uid=0", b"\x00", b"x" * 201, b"\xff\xfe", "\u202eevil".encode()],
)
def test_a_links_odd_values_are_dropped(text: bytes) -> None:
    assert linked_values(handler({"opt-memory": [text]})) == {}


def test_only_a_page_that_is_opened_is_filled_in() -> None:
    assert linked_values(handler({"opt-profile": [b"gpu"]}, method="POST")) == {}
    assert linked_values(None) == {}


class Spawner:
    """What the page asks of a spawner."""

    def __init__(self, profiles: Profiles | None, query: dict[str, list[bytes]]):
        self.profiles = profiles
        self.requester = Requester(snapshot=KNOWN.snapshot)
        self.handler = handler(query)
        self.orm_spawner = SimpleNamespace(user_options=None)
        self.user = SimpleNamespace(name="ann")
        self.log = SimpleNamespace(info=lambda *words: None)
        self.gateway = SimpleNamespace(
            account_of=lambda name: name, jobs=SimpleNamespace(limits=self._limits)
        )

    async def _limits(self, account: str) -> None:
        raise SchedulerUnavailable("squeue hangs")

    def offers(self) -> list[tuple[str, str]]:
        return []


HARM = "\"><script>alert('x')</script><img src=x onerror=harm()>"


async def test_nothing_that_anybody_wrote_is_markup() -> None:
    hostile = Profile.model_validate(
        {
            "key": "custom",
            "title": HARM,
            "description": HARM,
            "resources": {"cpus": 1, "memory": "1G"},
            "choices": {"memory": {"max": "2G"}},
        }
    )
    query = {"opt-profile": [b"custom"], "opt-memory": [HARM.encode()]}
    html = await options_form(Spawner(Profiles((hostile,)), query))
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;") == 4  # title twice, description, value


async def test_the_page_opens_while_the_scheduler_is_away() -> None:
    html = await options_form(Spawner(Profiles((SMALL,)), {}))
    assert 'value="small" checked' in html
    assert "my-limits" not in html


async def test_a_site_without_profiles_offers_one_server() -> None:
    html = await options_form(Spawner(None, {}))
    assert "Notebook server" in html


async def test_who_may_start_nothing_is_told_so() -> None:
    staff = SMALL.model_copy(update={"groups": ("staff",)})
    html = await options_form(Spawner(Profiles((staff,)), {}))
    assert "No profile is open to you" in html
    assert "disabled" in html


def test_limits_are_told_in_one_line() -> None:
    assert limits_in_words(LIMITS) == (
        "Your accounts: other, proj (default) · at most 3 jobs at once · "
        "at most 6 GPUs in proj together"
    )
    assert limits_in_words(None) == ""


def test_the_table_tells_its_age() -> None:
    assert cluster_table(SchedulerFacts(), NOW).rows == []
    table = cluster_table(KNOWN, NOW + timedelta(seconds=30))
    assert table.age_text == "Read 30 s ago"
    assert [row.name for row in table.rows] == ["cpu", "gpu"]
    early = cluster_table(KNOWN, NOW - timedelta(seconds=5))
    assert early.age_text == "Read just now"
