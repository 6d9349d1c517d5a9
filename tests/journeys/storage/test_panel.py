"""The storage panel on the gateway's own page, as alice and bob use it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from urllib.parse import quote

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from rigs.browser.browser import Browser
from rigs.browser.hostile_names import hostile_folders, hostile_names
from rigs.browser.lab_pages import Lab
from rigs.browser.storage_page import CONTRAST, DIALOG, ROWS, StoragePage

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

BIG = 300_000_000
MANY = 200_000
# Pages see which keys there are, and get none.
_ASK_KEYS = """
const [done] = arguments;
const ask = token => fetch('/user/alice/landbridge/storage/credentials', {
  method: 'POST', body: '{}', headers: { 'X-XSRFToken': token }
}).then(answer => answer.status);
const tokens = document.cookie.split('; ').filter(one => one.startsWith('_xsrf='));
Promise.all(tokens.map(one => ask(one.slice(6)))).then(done);
"""
# Of the cookies of this name, one is the notebook server's.
_SET_THEME = """
const [raw, done] = arguments;
const at = '/user/alice/lab/api/settings/@jupyterlab/apputils-extension:themes';
const put = token => fetch(at, {
  method: 'PUT', body: JSON.stringify({ raw }),
  headers: { 'X-XSRFToken': token, 'Content-Type': 'application/json' }
}).then(answer => answer.status);
const tokens = document.cookie.split('; ').filter(one => one.startsWith('_xsrf='));
Promise.all(tokens.map(one => put(one.slice(6)))).then(done);
"""


@pytest.mark.timeout(600)
def test_a_large_upload_goes_on_after_a_reload(page, stored, tmp_path) -> None:
    big = tmp_path / "big data.bin"
    draw = random.Random(12)
    content = b"".join(draw.randbytes(BIG // 10) for _ in range(10))
    big.write_bytes(content)
    page.give("files", big)
    page.show("uploads")
    page.web.until("a third has arrived", lambda: page.sent() > BIG // 3, seconds=120)
    page.web.driver.refresh()
    page.show("uploads")
    page.web.find(page.css("[data-upload-state=needs-file]"))
    assert stored.keys() == []  # nothing half shows as a whole
    other = tmp_path / "elsewhere" / big.name
    other.parent.mkdir()
    other.write_bytes(content[::-1])
    os.utime(other, ns=(big.stat().st_atime_ns, big.stat().st_mtime_ns))
    page.give("again", other)  # same name, size and time, other content
    page.web.wait_text(page.css(".lb-Kit-toast"), "none of those")
    began = page.web.run("return performance.now()")
    page.give("again", big)
    page.web.find(page.css("[data-upload-state=done]"), 180)
    sent = page.web.run(
        "return performance.getEntriesByType('resource').filter(e => e.startTime >"
        " arguments[0] && e.name.includes('partNumber=')).length",
        began,
    )
    parts = -(-BIG // (8 * 2**20))
    assert 0 < sent < 0.8 * parts  # what had arrived was not sent twice
    assert stored.sha256(big.name) == hashlib.sha256(content).hexdigest()
    assert stored.unfinished() == []


def test_a_folder_is_uploaded_paused_and_taken_off_the_list(
    page, stored, tmp_path
) -> None:
    folder = tmp_path / "run 7"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "é.csv").write_text("x,y\n1,2\n")
    page.give("folder", folder)
    page.wait_rows("run 7/")
    wanted = ["run 7/a.txt", "run 7/deep/é.csv"]
    page.web.until("both are there", lambda: stored.keys() == wanted)
    page.give("folder", folder)  # again: they exist, and nothing is replaced unasked
    page.show("uploads")
    page.web.until(
        "both say that they exist",
        lambda: len(page.web.all(page.css("[data-upload-state=exists]"))) == 2,
    )
    page.press("Replace run 7/a.txt")
    page.web.until(
        "it is replaced",
        lambda: len(page.web.all(page.css("[data-upload-state=done]"))) == 3,
    )
    page.press("Remove run 7/deep/é.csv")
    page.press("Clear done")
    page.web.until(
        "the list is empty",
        lambda: not page.web.all(page.css("[data-upload-state]")),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("many", [3_000, pytest.param(MANY, marks=pytest.mark.long)])
def test_many_keys_are_browsed_to_the_end(page, stored, site, request, many) -> None:
    stored.fill(site.hub.state, "many", (f"k-{number:07}" for number in range(many)))
    request.addfinalizer(lambda: stored.clear(site.hub.state, "many"))
    stored.put({"zz.txt": b"z"})
    began = time.monotonic()
    page.open("alice%2Fmany%2F")
    page.wait_rows("k-0000000")
    print(f"the first of {many} keys after {time.monotonic() - began:.1f} s")
    assert len(page.web.all(page.css(ROWS))) < 80  # only what shows is drawn
    began = time.monotonic()
    page.keys(Keys.END)
    page.wait_rows(f"k-{many - 1:07}")
    took = time.monotonic() - began
    calls = page.web.run(
        "return performance.getEntriesByType('resource')"
        ".filter(e => e.name.includes('/objects?')).length"
    )
    print(f"the end of {many} keys after {took:.1f} s and {calls} calls")
    assert calls < 45
    page.keys(Keys.HOME)
    page.wait_rows("k-0000000")
    page.keys(*([Keys.PAGE_DOWN] * 80))  # past the first page of the service
    page.web.until("the second page", lambda: page.rows()[-1] > "k-0001100")
    page.search(f"k-{many - 3:07}"[:-1])
    page.web.until("the prefix", lambda: f"k-{many - 1:07}" in page.rows())
    assert len(page.rows()) <= 10
    page.keys(Keys.BACKSPACE)
    page.wait_rows("many/", "zz.txt")


def go_to(page: StoragePage, name: str) -> None:
    """Go to a line by keys; the store may show folders that were emptied before it."""
    page.keys(Keys.HOME, *[Keys.ARROW_DOWN] * page.rows().index(name))


def test_objects_are_renamed_moved_and_deleted_by_keyboard(page, stored) -> None:
    stored.put({"a/one.txt": b"1", "a/two.txt": b"22", "b.txt": b"333"})
    page.press("Read again")
    page.wait_rows("a/", "b.txt")
    go_to(page, "b.txt")
    page.press("Rename")
    page.web.find(f"{DIALOG} input").send_keys("c.txt", Keys.ENTER)  # it is selected
    page.wait_rows("c.txt")
    go_to(page, "a/")
    page.keys(Keys.ENTER)
    page.wait_rows("one.txt", "two.txt")
    assert page.web.path.endswith(quote("alice/a/", safe=""))
    page.keys("t")  # type ahead
    assert page.row("two.txt").get_attribute("aria-selected") == "true"
    page.keys(Keys.DELETE)
    page.web.wait_text(DIALOG, "deletes 1 object, 2 B")
    page.answer("Delete")
    page.wait_closed()
    page.web.until("it is gone", lambda: page.rows() == ["one.txt"])
    page.keys(Keys.BACKSPACE)
    page.choose("a/", "c.txt")
    page.keys(Keys.DELETE)
    page.web.wait_text(DIALOG, "deletes 2 objects, 4 B")
    page.answer("Delete")
    page.web.until("all are gone", lambda: stored.keys() == [])
    page.web.until("the folder is gone", lambda: "a/" not in page.rows())
    page.show("tasks")
    page.web.find(page.css("[data-phase=done]"))


def test_what_is_chosen_and_asked_outlives_a_new_reading(page, stored) -> None:
    stored.put({"a/one.txt": b"1", "b.txt": b"22", "c.txt": b"333"})
    page.press("Read again")
    page.wait_rows("a/", "b.txt", "c.txt")
    page.choose("a/", "b.txt", "c.txt")
    page.keys(Keys.DELETE)
    page.web.wait_text(DIALOG, "deletes 3 objects, 6 B")
    stored.put({"d.txt": b"4444"})
    stored.delete("c.txt")
    # As the end of a task does it: a person cannot press this behind a dialog.
    again = page.web.find(page.css('button[aria-label="Read again"]'))
    page.web.run("arguments[0].click()", again)
    page.wait_rows("a/", "b.txt", "d.txt")
    assert "c.txt" not in page.rows()
    assert "deletes 3 objects, 6 B" in page.web.find(DIALOG).text
    page.answer("Cancel")
    page.wait_closed()
    page.web.wait_text(page.css(".lb-Storage-actions b"), "2 selected")


def test_a_share_is_given_used_and_revoked(page, stored, site) -> None:
    stored.put({"results/final.csv": b"1,2\n"})
    page.press("Read again")
    page.choose("results/")
    page.press("Share")
    page.answer("Share", name="bob")
    page.web.wait_text(f"{DIALOG} .lb-Kit-lines", "bob may read")
    page.answer("Close")
    page.be("bob")
    page.open("alice%2Fresults%2F")
    page.wait_rows("final.csv")
    shared = page.web.find(page.css("[data-bucket=alice]")).text
    assert "shared by alice" in shared and "read only" in shared
    page.choose("final.csv")
    labels = [one.text for one in page.web.all(page.css("[role=toolbar] button"))]
    assert "Download" in labels and "Delete" not in labels
    page.be("alice")
    page.open()
    page.show("shares")
    page.press("Revoke the share with bob")
    page.web.wait_text(page.css(".lb-Storage-page"), "You share nothing")
    page.be("bob")
    page.open()
    assert not page.web.all(page.css("[data-bucket=alice]"))


def test_a_public_link_works_until_it_is_ended(page, stored, site) -> None:
    stored.put({"open.txt": b"for all"})
    page.press("Read again")
    page.choose("open.txt")
    page.press("Public link")
    page.answer("Make link")
    url = page.web.find(f"{DIALOG} [name=link]").get_attribute("value")
    with httpx.Client(trust_env=False, follow_redirects=True) as stranger:
        assert stranger.get(url).content == b"for all"
        page.answer("Close")
        page.show("shares")
        page.press("End this link")
        page.web.wait_text(page.css(".lb-Storage-page"), "No public link of yours")
        assert stranger.get(url).status_code == 404


def test_unfinished_uploads_are_listed_and_thrown_away(page, stored) -> None:
    wish = {"bucket": "alice", "key": "half.bin", "size": 20 * 2**20}
    stored.rest.post("uploads", json=wish).raise_for_status()
    page.show("unfinished")
    page.web.wait_text(page.css(".lb-Kit-lines"), "half.bin")
    page.press("Throw away the upload of half.bin")
    page.web.wait_text(page.css(".lb-Storage-page"), "There are none")
    assert stored.unfinished() == []


def test_a_bucket_is_made_and_deleted(page) -> None:
    page.press("New bucket")
    page.web.find(f"{DIALOG} input").send_keys("extra")
    page.answer("Create")
    page.web.find(page.css('[data-bucket="alice--extra"]'))
    page.press("Delete bucket alice--extra")
    page.answer("Delete bucket")
    page.web.until(
        "the bucket is gone",
        lambda: not page.web.all(page.css('[data-bucket="alice--extra"]')),
    )


def test_hostile_names_are_shown_and_inert(page, stored) -> None:
    names, folders = hostile_names(), hostile_folders()
    stored.put({f"bad/{name}": b"x" for name in names})
    stored.put({f"bad/{name}/x": b"x" for name in folders})
    with page.watched():
        page.open("alice%2Fbad%2F")
        seen = read_all(page)
        tops = {name.split("/")[0] + "/" for name in folders}
        assert len(seen) == len(names) + len(tops)
        plain = {name for name in names if name.isprintable()}
        assert plain <= seen
        assert "⟨202E⟧gpj.exe".replace("⟧", "⟩") in seen
        for name in (names[0], names[1], names[10]):
            page.keys(Keys.HOME)
            page.search(name)
            page.choose(name)
            for label in ("Rename", "Public link", "Copy or move", "Delete"):
                page.press(label)
                page.web.find(DIALOG)
                page.answer("Cancel")
                page.wait_closed()
        page.open("alice%2F" + quote(f"bad/{folders[0]}/", safe=""))
        page.wait_rows("x")  # the hostile way shows in the breadcrumb
        page.assert_inert()


def read_all(page: StoragePage) -> set[str]:
    """Every name of the list, by walking down it."""
    page.web.find(page.css(ROWS))
    page.web.until("all is read", lambda: page.web.all(page.css("[aria-busy=false]")))
    page.keys(Keys.HOME)
    seen, here, before = set(page.rows()), "start", ""
    while here != before:
        page.keys(Keys.PAGE_DOWN)
        page.web.settle()
        seen |= set(page.rows())
        table = page.web.find(page.css(".lb-Storage-table"))
        here, before = table.get_attribute("aria-activedescendant"), here
    return seen


def test_the_sidebar_of_jupyterlab_has_the_same_panel(web, stored, tmp_path) -> None:
    stored.put({"lab/seen.txt": b"seen"})
    web.start("alice", "small")
    web.wait_path("/user/alice/lab", seconds=90)
    Lab(web).open_launcher()
    web.find('[data-id="landbridge-storage"]').click()
    panel = StoragePage(web, "#landbridge-storage")
    panel.go_to_bucket("alice")
    panel.wait_rows("lab/")
    given = tmp_path / "from the lab.bin"
    content = random.Random(3).randbytes(12_000_000)
    given.write_bytes(content)
    panel.give("files", given)  # two parts, signed by way of the relay
    panel.wait_rows(given.name, seconds=60)
    assert stored.sha256(given.name) == hashlib.sha256(content).hexdigest()
    panel.keys("l", Keys.ENTER)  # type ahead, and open
    panel.wait_rows("seen.txt")
    calls = web.run(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => /services.storage.api|[/]s3[/]/.test(name))"
    )
    # Bytes went to the store, and every call of the service through the relay.
    assert calls and all("/s3/alice/" in name for name in calls)
    # The relay hands on the service's calls for pages, to its own page alone.
    answers = web.driver.execute_async_script(
        "const done = arguments[0];"
        "Promise.all(['openapi.json', 'me/../health', 'health', 'me'].map(path =>"
        " fetch('/user/alice/landbridge/storage/' + path).then(a => a.status)))"
        ".then(done)"
    )
    assert answers == [404, 404, 404, 403]  # 403: without the page's XSRF token
    assert 404 in web.driver.execute_async_script(_ASK_KEYS)
    for theme in ("Dark", "Light"):  # the last one is how it was
        use_theme(web, panel, theme)
        panel.choose("seen.txt")
        for view in (
            "browse",
            "uploads",
            "tasks",
            "shares",
            "history",
            "unfinished",
        ):
            panel.show(view)
            web.settle()
            assert web.run(CONTRAST, panel.within) == [], (theme, view)
        panel.show("browse")
        panel.choose("seen.txt")
        panel.press("Details")  # by way of the relay, too
        web.wait_text(DIALOG, "ETag")
        web.find(f"{DIALOG} [aria-label='Add a tag']")
        assert web.run(CONTRAST, DIALOG) == [], theme
        panel.answer("Close")
        panel.wait_closed()
    web.leave("/hub/home")


def use_theme(web: Browser, panel: StoragePage, name: str) -> None:
    """Load JupyterLab again in one of its themes."""
    status = web.driver.execute_async_script(
        _SET_THEME, json.dumps({"theme": f"JupyterLab {name}"})
    )
    assert 204 in status, status
    web.leave(web.path)
    web.find(".jp-LauncherCard", 60)
    light = "return document.body.dataset.jpThemeLight"
    web.until(name, lambda: web.run(light) == str(name == "Light").lower())
    if not web.all(panel.css(".lb-Storage-bucket")):
        web.find('[data-id="landbridge-storage"]').click()
    panel.wait_rows("seen.txt")
