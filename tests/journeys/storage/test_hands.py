"""What else hands do at the storage panel: drop, pause, cancel, wait, enter a key."""

from __future__ import annotations

import hashlib
import random

import pytest

from rigs.browser.browser import PHONE
from rigs.browser.storage_page import CONTRAST, DIALOG
from rigs.browser.stored import standing_still

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

LARGE = 100_000_000


def test_files_and_folders_are_dropped_on_the_list(page, stored, tmp_path) -> None:
    folder = tmp_path / "run 8"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a b+c.txt").write_text("deep")
    for i in range(120):  # more than a browser gives of a folder at a time
        (folder / f"{i:03}.txt").write_text(str(i))
    single = tmp_path / "single.csv"
    single.write_text("1,2\n")
    page.drop(folder, single)
    page.wait_rows("run 8/", "single.csv")
    wanted = [f"run 8/{i:03}.txt" for i in range(120)]
    wanted += ["run 8/deep/er/a b+c.txt", "single.csv"]
    page.web.until("all are there", lambda: stored.keys() == wanted, 90)
    digest = hashlib.sha256(b"deep").hexdigest()
    assert stored.sha256("run 8/deep/er/a b+c.txt") == digest
    assert not page.web.all(page.css("[data-over=true]"))


def test_an_upload_is_paused_and_goes_on_by_hand(page, stored, tmp_path) -> None:
    big = tmp_path / "slow.bin"
    content = random.Random(8).randbytes(LARGE)
    big.write_bytes(content)
    with page.slow_line(16_000_000):
        page.give("files", big)
        page.show("uploads")
        page.web.until(
            "a part of it has arrived", lambda: page.sent() > 0.6 * LARGE, 90
        )
        page.press("Pause slow.bin")
        page.web.find(page.css("[data-upload-state=paused]"))
        assert stored.keys() == []
        (begun,) = stored.unfinished()
    where = {"bucket": "alice", "key": big.name, "upload_id": begun["upload_id"]}
    arrived = len(stored.rest.get("uploads/parts", params=where).json()["parts"])
    began = page.web.run("return performance.now()")
    page.press("Go on with slow.bin")
    page.web.find(page.css("[data-upload-state=done]"), 90)
    assert stored.sha256(big.name) == hashlib.sha256(content).hexdigest()
    again = page.web.run(
        "return performance.getEntriesByType('resource').filter(e => e.startTime >"
        " arguments[0] && e.name.includes('partNumber=')).length",
        began,
    )
    assert arrived > 0
    assert 0 < again <= -(-LARGE // 2**23) - arrived  # none was sent twice
    assert stored.unfinished() == []


def test_a_store_that_stands_still_is_told_of_and_comes_back(page, stored, site):
    stored.put({f"some/{i}.txt": b"x" for i in range(3)} | {"a.txt": b"1"})
    page.press("Read again")
    page.wait_rows("a.txt", "some/")
    with standing_still(site.hub):
        page.choose("some/")
        page.press("Copy or move")
        page.web.find(f"{DIALOG} input[placeholder]").send_keys("copy/")
        page.answer("Copy")
        page.wait_closed()
        page.web.wait_text(page.css("[role=alert]"), "did not answer", seconds=90)
        assert {"a.txt", "some/"} <= set(page.rows())  # as read before
        assert page.web.run(CONTRAST, "#storage") == []
        page.web.size(*PHONE)
        wide = "return document.documentElement.scrollWidth - innerWidth"
        assert page.web.run(wide) <= 0
        page.show("tasks")
        page.web.wait_text(page.css("[data-phase=running]"), "waits for the store")
        page.press("Cancel")
        page.web.wait_text(page.css("[data-phase]"), "ending", "ended by you")
        page.show("browse")
    page.web.size(1280, 900)
    page.web.until(
        "the list is there, and nothing is wrong any more",
        lambda: page.rows() and not page.web.all(page.css("[role=alert]")),
        90,
    )
    page.show("tasks")
    page.web.wait_text(page.css("[data-phase=cancelled]"), "ended by you", seconds=60)
    page.show("browse")
    old = page.web.in_new_tab("/hub/logout")
    page.web.driver.close()
    page.web.driver.switch_to.window(old)
    page.press("Read again")
    page.web.wait_text(page.css("[role=alert]"), "You are signed out")
