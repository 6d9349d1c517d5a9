"""The storage page in the light and in the dark, and as a screen reader is told it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rigs.browser.browser import DESKTOP, PHONE
from rigs.browser.storage_page import CONTRAST, DIALOG, StoragePage
from rigs.checkout import TESTS

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

READABLE = (TESTS / "rigs/browser/readable.js").read_text()
# What a screen reader announces by its name, in the words of the browser's own tree.
NAMED = {
    *("button", "checkbox", "combobox", "dialog", "grid", "Iframe", "image", "link"),
    *("meter", "progressbar", "radio", "region", "searchbox", "spinbutton", "textbox"),
}
DIALOGS = ("Share", "Copy or move", "Rename", "Delete")
VIEWS = ("uploads", "tasks", "shares", "unfinished", "browse")
WIDE = "return document.documentElement.scrollWidth - innerWidth"


def nameless(page: StoragePage) -> list[str]:
    """What of the page is announced without a name."""
    tree = page.web.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in tree["nodes"]
        if not node["ignored"] and node["role"]["value"] in NAMED
    ]
    assert "button" in dict(told)  # of an open dialog there is nothing else
    return [f"{role} without a name" for role, name in told if not name]


def problems(page: StoragePage) -> list[str]:
    """What somebody would stumble over on the page as it is now."""
    page.web.settle()
    found = page.web.run(READABLE) + page.web.run(CONTRAST, "body") + nameless(page)
    wide = page.web.run(WIDE)
    return [*found, *([f"{wide} pixels too wide"] if wide > 0 else [])]


@pytest.fixture(params=["light", pytest.param("dark", marks=pytest.mark.long)])
def themed(page: StoragePage, stored, request) -> Iterator[StoragePage]:
    """Her page with something in every view, in one of the themes."""
    stored.put({"run/a.txt": b"1", "run/b.csv": b"x,y\n1,2\n", "z.txt": b"z"})
    wish = {"bucket": "alice", "key": "half.bin", "size": 20 * 2**20}
    stored.rest.post("uploads", json=wish).raise_for_status()
    page.web.theme(request.param)
    page.open("alice%2Frun%2F")
    page.wait_rows("a.txt", "b.csv")
    yield page
    page.web.size(*DESKTOP)
    page.web.theme("light")


def test_every_view_can_be_read(themed: StoragePage, stored, tmp_path) -> None:
    page = themed
    given = tmp_path / "given.txt"
    given.write_text("given")
    page.give("files", given)
    page.wait_rows("given.txt")
    page.give("files", given)  # exists already
    page.choose("a.txt")
    page.press("Public link")
    page.answer("Make link")
    page.web.find(f"{DIALOG} [name=link]")
    assert problems(page) == []
    page.answer("Close")
    page.choose("given.txt")
    page.press("Delete")
    page.web.wait_text(DIALOG, "deletes 1 object")
    page.answer("Delete")
    page.wait_closed()
    page.web.driver.refresh()  # what exists already needs its file again
    page.wait_rows("a.txt")
    for size in (DESKTOP, PHONE):
        page.web.size(*size)
        for view in VIEWS:
            page.show(view)
            page.web.until(
                f"{view} is read",
                lambda: not page.web.all(page.css("[aria-busy=true]")),
            )
            assert problems(page) == [], (view, size)
    page.show("uploads")
    page.press("Remove given.txt")
    page.show("shares")
    page.press("End this link")
    page.web.wait_text(page.css(".lb-Storage-page"), "No public link of yours")


def test_every_dialog_and_a_preview_can_be_read(themed: StoragePage) -> None:
    page = themed
    page.choose("b.csv")
    page.press("Preview")
    frame = page.web.find(page.css(".lb-Storage-frame iframe"))
    page.web.driver.switch_to.frame(frame)
    page.web.wait_text("table", "2")
    assert page.web.run(CONTRAST, "body") == []
    page.web.driver.switch_to.default_content()
    assert problems(page) == []
    page.press("Close the preview")
    for label in ("New bucket", *DIALOGS):
        if label == "Share":
            page.open("alice")
            page.wait_rows("run/")
            page.choose("run/")
        elif label == "Rename":
            page.choose("z.txt")
        page.press(label)
        page.web.find(DIALOG)
        assert problems(page) == [], label
        page.answer("Close" if label == "Share" else "Cancel")
        page.wait_closed()
