"""The reference says what the code does: settings, variables, commands, routes."""

from __future__ import annotations

import re

import pytest

from hub import reference
from hub.config.sections import SECTIONS
from hub.config.settings import VARIABLES
from rigs.checkout import CHECKOUT

DOCS = CHECKOUT / "docs"


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_generated_page_is_current(name):
    made = reference.PAGES[name]()
    assert (CHECKOUT / name).read_text() == made, "run: python -m hub.reference"


def test_every_setting_has_a_heading_a_default_and_a_meaning():
    page = (DOCS / "reference" / "settings.md").read_text()
    for table, _, entries in reference.tables():
        assert f"## `[{table}]`" in page
        for key, field in entries:
            assert f"### `{table}.{key}`" in page
            assert len(field.description or "") > 15, f"{table}.{key}"


def test_every_variable_is_told():
    page = (DOCS / "reference" / "settings.md").read_text()
    for name in VARIABLES:
        assert f"`{name}`" in page


def test_every_setting_is_used():
    """A setting that nobody reads is a lie."""
    code = "\n".join(
        path.read_text()
        for path in [
            *(CHECKOUT / "hub").rglob("*.py"),
            *(CHECKOUT / "services").rglob("*.py"),
        ]
        if path.name not in ("sections.py", "reference.py")
        and path.parts[-3::2] != ("services", "settings.py")
    )
    for name, section in SECTIONS.items():
        for key in section.model_fields:
            assert re.search(rf"\.{key}\b", code), f"{name}.{key} is read nowhere"


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.rglob("*.md"), *CHECKOUT.glob("*.md")]
    for page in pages:
        text = re.sub(r"`[^`\n]+`", "", page.read_text())  # code is no link
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["security", "what-survives"])
def test_tests_that_a_page_names_are_there(name):
    page = (DOCS / "explanation" / f"{name}.md").read_text()
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)`", page)
    assert len(named) > 10
    assert [one for one in named if not (CHECKOUT / "tests" / one).exists()] == []


def test_routes_of_the_hub_are_told():
    from hub.api import servers as jobs_api
    from hub.pages import handlers as page_api

    page = (DOCS / "reference" / "api.md").read_text()
    for route, *_ in [*jobs_api.handlers, *page_api.handlers]:
        shown = re.sub(r"\(\?P<(\w+)>[^)]*\)|\([^)]*\)", "", route)
        words = [
            word for word in re.findall(r"[a-z]{4,}", shown) if word != "landbridge"
        ]
        for word in words:
            assert word in page, f"{route} is not in docs/reference/api.md"


def test_tests_that_are_named_are_there():
    """In tables of what is promised, by their path below ``tests/``."""
    for path in [*DOCS.rglob("*.md"), CHECKOUT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`(?:tests/)?([\w/]+/test_\w+\.py)`", path.read_text()):
            assert (CHECKOUT / "tests" / name).is_file(), f"{path.name}: {name}"
