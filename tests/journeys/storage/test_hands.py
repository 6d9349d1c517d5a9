"""What else hands do at the storage panel: drop, pause, cancel, wait, enter a key."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from rigs.browser.browser import PHONE, Browser
from rigs.browser.storage_page import CONTRAST, DIALOG, StoragePage
from rigs.browser.stored import open_bucket, standing_still, store_of
from rigs.hub.process import PASSWORD, HubProcess, running_hub, until

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


@pytest.fixture(scope="module")
def own_keys(running_site, tmp_path_factory) -> Iterator[HubProcess]:
    """A gateway whose users bring keys to that store, and reach it by themselves."""
    directory = tmp_path_factory.mktemp("own-keys")
    endpoint = store_of(running_site.hub.state)[0].replace("127.0.0.1", "localhost")
    settings = directory / "gateway.toml"
    settings.write_text(
        f'[storage]\nendpoint = "{endpoint}"\nroute = "direct"\n'
        'credentials = "pasted"\n'
    )
    with running_hub(directory, LANDBRIDGE_CONFIG=str(settings)) as hub:
        hub.add_user("alice")
        health = "/services/storage/health"
        until("storage is ready", lambda: hub.api.get(health).status_code == 200)
        yield hub


def test_a_key_is_pasted_and_bytes_go_straight_to_the_store(
    web: Browser, stored, site, own_keys, tmp_path
) -> None:
    stored.put({"here.txt": b"here"})
    there = Browser(web.driver, f"http://127.0.0.1:{own_keys.port}")
    open_bucket(site.hub.state, "alice", there.home)
    there.sign_in("alice", PASSWORD)
    there.open("/services/storage/")
    page = StoragePage(there)
    there.wait_text("#storage [role=alert]", "key")
    there.find("#storage button[data-kind=main]").click()
    key = store_of(site.hub.state)[1]
    page.answer("Keep", access_key=key.access_key, secret_key="x" * 40)
    there.wait_text(f"{DIALOG} [role=alert]", "key", "store")
    field = there.find(f"{DIALOG} [name=secret_key]")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    page.answer("Keep", secret_key=key.secret_key)
    page.wait_closed()
    there.find(page.css("[data-bucket=alice]")).find_element(
        "css selector", "button"
    ).click()
    page.wait_rows("here.txt")
    assert key.secret_key not in there.driver.page_source
    assert "Share this" not in there.driver.page_source  # nobody can narrow her key
    given = tmp_path / "straight.bin"
    content = random.Random(4).randbytes(12_000_000)  # two parts
    given.write_bytes(content)
    page.give("files", given)
    page.wait_rows(given.name, seconds=60)
    assert stored.sha256(given.name) == hashlib.sha256(content).hexdigest()
    sent_to = there.run(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => name.includes('partNumber='))"
    )
    assert sent_to and all(url.startswith("http://localhost:") for url in sent_to)
    page.row("here.txt").find_element("css selector", "button").click()
    there.find(page.css(".lb-Storage-look iframe"))
