"""What the panel tells of one object, of keys, of the past, and of a quota."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from rigs.browser.browser import Browser
from rigs.browser.storage_page import CONTRAST, DIALOG, StoragePage
from rigs.browser.stored import Stored, as_store, open_bucket, store_of
from rigs.hub.process import running_hub, until
from rigs.stores.sites import WeedRig
from services.storage.drivers.admin_users import AdminUsersDriver, IamUsers
from services.storage.s3.client import S3Client
from services.storage.s3.values import Grant, Mode, Session
from services.storage.site.embedded_files import EmbeddedSettings

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

KEPT = "alice--kept"
OBJECT = {"bucket": KEPT, "key": "r/a.txt"}
# Instead of saving: the address that the browser would have saved from.
_CATCH = "HTMLAnchorElement.prototype.click = function () { window.saved = this.href }"
_HOUR = timedelta(hours=1)


@pytest.fixture
def kept(site, stored: Stored) -> Iterator[Stored]:
    """A bucket of alice's that keeps versions, with two of ``r/a.txt``."""
    stored.rest.post("buckets", json={"name": "kept"}).raise_for_status()

    async def fill(client: S3Client) -> None:
        await client.buckets.set_versioned(KEPT, versioned=True)
        for data, run in ((b"one", "6"), (b"three", "7")):
            await client.put(
                KEPT,
                "r/a.txt",
                data,
                content_type="text/plain",
                metadata={"run": run},
            )
        await client.put(KEPT, "r/a.txt.more", b"another that begins so")

    async def clear(client: S3Client) -> None:
        for one in (await client.buckets.versions(KEPT)).versions:
            await client.delete(KEPT, one.key, version=one.version)

    as_store(site.hub.state, fill)
    yield stored
    as_store(site.hub.state, clear)
    stored.rest.delete(f"buckets/{KEPT}").raise_for_status()


def open_details(page: StoragePage, name: str) -> WebElement:
    """Open them by keyboard, for a line of the list."""
    page.wait_rows(name)
    page.row(name).click()
    table = page.web.find(page.css(".lb-Storage-table"))
    page.web.run("arguments[0].focus()", table)
    keys = ActionChains(page.web.driver).key_down(Keys.ALT).send_keys(Keys.ENTER)
    keys.key_up(Keys.ALT).perform()
    page.web.wait_text(DIALOG, "ETag")
    return page.web.find(DIALOG)


def versions(page: StoragePage) -> list[str]:
    """What the dialog says of each version."""
    found = page.web.all(f"{DIALOG} [data-version] > span:first-child")
    return [one.text for one in found]


def test_details_are_read_and_tags_kept(page: StoragePage, kept: Stored) -> None:
    page.open(f"{KEPT}%2Fr%2F")
    text = open_details(page, "a.txt").text
    for words in ("5 B", "text/plain", "CRC32", f"s3://{KEPT}/r/a.txt", "run", "7"):
        assert words in text, text
    page.web.press(page.web.find(DIALOG), "Add a tag")
    page.answer("Save tags", **{"tag-0-name": "project", "tag-0-value": "a+b = c"})
    query = {"params": OBJECT}
    page.web.until(
        "the tag is kept",
        lambda: (
            kept.rest.get("objects/tags", **query).json()["tags"]
            == {"project": "a+b = c"}
        ),
    )
    assert page.web.run(CONTRAST, DIALOG) == []
    page.web.wait_text(f"{DIALOG} [role=status]", "The tags are kept.")
    page.answer("Close")
    page.wait_closed()
    page.press("Details")  # of what is still chosen: by mouse
    field = page.web.find(f"{DIALOG} [name=tag-0-value]")
    assert field.get_attribute("value") == "a+b = c"
    page.web.find(f"{DIALOG} [aria-label='Remove the tag project']").click()
    page.answer("Save tags")
    page.web.until(
        "no tag is left",
        lambda: kept.rest.get("objects/tags", **query).json()["tags"] == {},
    )


def test_an_earlier_version_is_saved_and_made_current_again(
    page: StoragePage, kept: Stored
) -> None:
    page.open(f"{KEPT}%2Fr%2F")
    open_details(page, "a.txt")
    page.web.until("two versions", lambda: len(versions(page)) == 2)
    newest, oldest = versions(page)
    assert "5 B" in newest and newest.endswith("current")
    assert oldest.endswith("3 B")
    last = f"{DIALOG} [data-version]:last-child"
    page.web.run(_CATCH)
    page.web.find(f"{last} button[aria-label^=Download]").click()
    saved = page.web.until("an address", lambda: page.web.run("return window.saved"))
    assert httpx.get(saved, trust_env=False).content == b"one"
    page.web.find(f"{last} button[aria-label^=Make]").click()
    page.web.until("three versions", lambda: len(versions(page)) == 3)
    assert "3 B" in versions(page)[0]
    url = kept.rest.post("urls/download", json=OBJECT).json()["url"]
    assert httpx.get(url, trust_env=False).content == b"one"
    page.web.wait_text(f"{DIALOG} .lb-Storage-facts", "3 B")
    page.answer("Close")
    page.wait_closed()
    open_details(page, "a.txt.more")
    page.web.wait_text(DIALOG, "Tags")
    assert versions(page) == []  # one alone is no choice


def test_a_guest_who_may_read_changes_nothing(page: StoragePage, kept: Stored) -> None:
    kept.rest.put("objects/tags", json=OBJECT | {"tags": {"of": "alice"}})
    wish = {"bucket": KEPT, "prefix": "r/", "kind": "user", "name": "bob"}
    share = kept.rest.post("shares", json=wish).json()["id"]
    page.be("bob")
    page.open(f"{KEPT}%2Fr%2F")
    open_details(page, "a.txt")
    page.web.wait_text(DIALOG, "Versions")
    assert "of\nalice" in page.web.find(DIALOG).text
    labels = [one.text for one in page.web.all(f"{DIALOG} button")]
    assert "Close" in labels
    assert not {"Save tags", "Add a tag", "Make current again"} & set(labels)
    kept.rest.delete(f"shares/{share}").raise_for_status()


def test_keys_in_use_are_listed_and_ended(page: StoragePage, stored: Stored) -> None:
    grant = {"bucket": "alice", "prefix": "runs/", "mode": "read"}

    def make(purpose: str) -> str:
        wish = {"purpose": purpose, "grants": [grant]}
        answer = stored.rest.post("credentials", json=wish)
        found: str = answer.raise_for_status().json()["id"]
        return found

    def live() -> set[str]:
        found = stored.rest.get("credentials").json()["credentials"]
        return {one["id"] for one in found}

    plain, notebook = make("a nightly copy"), make("kernel of é/a.ipynb")
    page.show("shares")
    line = page.web.find(page.css(f'[data-key="{plain}"]')).text
    assert "a nightly copy" in line and "alice/runs/ (read)" in line
    assert page.web.run(CONTRAST, page.within) == []
    page.web.find(page.css(f'[data-key="{plain}"] button')).click()
    page.web.until("they have ended", lambda: plain not in live())
    page.web.until(
        "they are no longer listed",
        lambda: not page.web.all(page.css(f'[data-key="{plain}"]')),
    )
    line = page.web.find(page.css(f'[data-key="{notebook}"]')).text
    assert line.startswith("The kernel of é/a.ipynb")
    end = page.css(f'[data-key="{notebook}"] button')
    page.web.find(end).click()
    page.web.wait_text(DIALOG, "End the keys of the kernel of é/a.ipynb?")
    assert "its programs are refused at once" in page.web.text(DIALOG)
    page.answer("Cancel")
    page.wait_closed()
    assert notebook in live()
    page.web.find(end).click()
    page.answer("End now")
    page.wait_closed()
    assert notebook not in live()


def test_the_past_is_told_in_sentences_page_by_page(
    page: StoragePage, stored: Stored
) -> None:
    stored.put({f"runs/{number}": b"x" for number in range(7)})
    wish = {"bucket": "alice", "prefix": "runs/", "kind": "user", "name": "bob"}
    ends = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    share = stored.rest.post("shares", json=wish | {"expires": ends}).json()["id"]
    stored.rest.delete(f"shares/{share}").raise_for_status()
    for keys in ([f"runs/{n}" for n in range(7)], *([f"x{n}"] for n in range(99))):
        body = {"bucket": "alice", "keys": keys}
        stored.rest.post("objects/delete", json=body).raise_for_status()
    page.show("history")
    history = page.css(".lb-Storage-history")
    seven = "runs/0, runs/1, runs/2, runs/3, runs/4 and 2 more in alice"
    page.web.wait_text(history, f"You deleted {seven}")
    first = page.web.text(history)
    assert "You deleted x98 in alice." in first
    assert "shared" not in first  # that is before the first hundred
    page.web.press(page.web.find(page.css(".lb-Storage-page")), "More")
    told = page.web.wait_text(
        history, "You shared alice/runs/ with bob, to read, until"
    )
    assert "You ended the share of alice/runs/ with bob." in told
    assert page.web.run(CONTRAST, page.within) == []


@contextmanager
def another(directory: Path, browser: Browser, settings: str) -> Iterator[tuple]:
    """A gateway with other settings of storage, and its page with alice signed in."""
    path = directory / "gateway.toml"
    path.write_text(f"[storage]\n{settings}\n")
    with running_hub(directory, LANDBRIDGE_CONFIG=str(path)) as hub:
        health = "/services/storage/health"
        until(
            "storage is ready",
            lambda: hub.api.get(health).status_code == 200,
            seconds=60,
        )
        page = StoragePage(Browser(browser.driver, f"http://127.0.0.1:{hub.port}"))
        page.be("alice")
        yield hub, page
        page.forget()


def test_a_quota_is_of_all_own_buckets_together(
    running_browser: Browser, tmp_path: Path
) -> None:
    settings = 'user_quota = "10 MB"\ngroup_bucket = "group-{group}"'
    with another(tmp_path, running_browser, settings) as (hub, page):
        hub.call("POST", "groups/crew")
        hub.call("POST", "groups/crew/users", {"users": ["alice"]})
        stored = Stored(hub, "alice")
        stored.rest.post("buckets", json={"name": "half"}).raise_for_status()
        for bucket in ("alice", "alice--half"):
            wish = {"bucket": bucket, "key": "half", "size": 5 * 10**6}
            answer = stored.rest.post("urls/upload", json=wish).raise_for_status()
            httpx.put(
                answer.json()["url"],
                content=bytes(5 * 10**6),
                headers=answer.json()["headers"],
                trust_env=False,
            ).raise_for_status()
        stored.close()
        page.open()
        words = "10 MB of 10 MB in all your buckets"
        page.web.wait_text(page.css("[data-whole]"), words)
        whole, crew = "[data-whole]", "[data-bucket=group-crew]"
        page.web.wait_text(page.css(crew), "0 B of 10 MB in 0 objects")
        for place, full in ((whole, "100 % full"), (crew, "0 % full")):
            meter = page.web.find(page.css(f"{place} .lb-Kit-meter"))
            assert meter.get_attribute("aria-label") == full
        # A person's buckets have no meters of their own.
        for bucket in ("alice", "alice--half"):
            own = page.css(f"[data-bucket={bucket}]")
            assert "10 MB" not in page.web.text(own)
            assert not page.web.all(f"{own} .lb-Kit-meter")
        assert page.web.run(CONTRAST, page.within) == []


@pytest.fixture(scope="module")
def portal() -> Iterator[Path]:
    """A site's store whose portal makes keys, with alice's bucket; yields its place."""
    place = Path(tempfile.mkdtemp(prefix="lbportal-", dir="/var/tmp"))
    rig = WeedRig(EmbeddedSettings(place / "store", iam_changes=True))

    async def make(client: S3Client) -> None:
        await client.buckets.create("alice")
        await client.put("alice", "seen.txt", b"x")

    try:
        rig.up()
        as_store(place, make)
        yield place
    finally:
        rig.down()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def brought(
    portal: Path, running_browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StoragePage]:
    """The page of a gateway where users bring keys of a site's store.

    Nobody has entered one, and browsers reach the store by themselves.
    """
    endpoint = store_of(portal)[0].replace("127.0.0.1", "localhost")
    settings = f'endpoint = "{endpoint}"\nroute = "direct"\ncredentials = "pasted"'
    place = tmp_path_factory.mktemp("brought")
    with another(place, running_browser, settings) as (_, page):
        open_bucket(portal, "alice", page.web.home)
        yield page


def test_a_key_is_pasted_and_bytes_go_straight_to_the_store(
    brought: StoragePage, portal: Path, tmp_path: Path
) -> None:
    page, there = brought, brought.web
    key = store_of(portal)[1]
    there.open("/services/storage/")
    there.wait_text("#storage [role=alert]", "key")
    there.find("#storage button[data-kind=main]").click()
    fill(page, key.access_key, "x" * 40, "Keep")
    there.wait_text(f"{DIALOG} [role=alert]", "key", "store")
    field = there.find(f"{DIALOG} [name=secret_key]")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    page.answer("Keep", secret_key=key.secret_key)
    page.wait_closed()
    there.find(page.css("[data-bucket=alice]")).find_element(
        "css selector", "button"
    ).click()
    page.wait_rows("seen.txt")
    assert key.secret_key not in there.driver.page_source
    assert "Share this" not in there.driver.page_source  # nobody can narrow her key
    given = tmp_path / "straight.bin"
    content = random.Random(4).randbytes(12_000_000)  # two parts
    given.write_bytes(content)
    page.give("files", given)
    page.wait_rows(given.name, seconds=60)

    async def arrived(client: S3Client) -> bytes:
        async with client.stream("alice", given.name) as pieces:
            return b"".join([piece async for piece in pieces])

    assert as_store(portal, arrived) == content
    sent_to = there.run(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => name.includes('partNumber='))"
    )
    assert sent_to and all(url.startswith("http://localhost:") for url in sent_to)
    page.row("seen.txt").find_element("css selector", "button").click()
    there.find(page.css(".lb-Storage-look iframe"))
    remove_key(page)


def test_a_key_is_changed_removed_and_missed(
    brought: StoragePage, portal: Path
) -> None:
    def keys(client: S3Client) -> AdminUsersDriver:
        return AdminUsersDriver(client, IamUsers(client))

    async def issue(client: S3Client) -> list[Session]:
        grant = Grant("alice", "", Mode.READ_WRITE)
        return [await keys(client).issue("alice", [grant], _HOUR) for _ in range(2)]

    state, page = portal, brought
    first, second = as_store(state, issue)
    page.web.open("/services/storage/")
    page.web.wait_text(page.within, "not entered a key")
    enter(page, "Enter your key", first.key.access_key, "wrong" * 8, "Keep")
    page.web.wait_text(f"{DIALOG} [role=alert]", "does not take this key")
    page.answer("Cancel")
    page.wait_closed()
    enter(page, "Enter your key", first.key.access_key, first.key.secret_key, "Keep")
    page.wait_closed()
    page.wait_rows("seen.txt")
    page.press("Your key")
    page.web.wait_text(DIALOG, first.key.access_key)
    assert page.web.run(CONTRAST, DIALOG) == []
    fill(page, second.key.access_key, second.key.secret_key, "Change")
    page.wait_closed()
    page.wait_rows("seen.txt")
    page.press("Your key")
    page.web.wait_text(DIALOG, second.key.access_key)
    page.answer("Cancel")
    page.wait_closed()

    # The store's portal ended it: the page leads to the form.
    as_store(state, lambda client: keys(client).revoke(second))
    page.press("Read again")
    refused = "does not take the key that you entered"
    page.web.wait_text(page.css(".lb-Storage-browse"), refused)
    page.web.find(page.css(".lb-Storage-browse .lb-Kit-nothing button"))
    # Once what the service knew of its buckets is old, there is only the form.
    page.web.until("the panel is locked", lambda: is_locked(page), seconds=90)
    assert refused in page.web.text(page.within)
    enter(page, "Enter your key", first.key.access_key, first.key.secret_key, "Change")
    page.wait_closed()
    page.wait_rows("seen.txt")

    remove_key(page)
    as_store(state, lambda client: keys(client).revoke(first))


def is_locked(page: StoragePage) -> bool:
    """Have the buckets read again, and look whether there are none."""
    for tool in page.web.all(page.css('[aria-label="Read buckets again"]')):
        tool.click()
    return not page.web.all(page.css(".lb-Storage-bucket"))


def remove_key(page: StoragePage) -> None:
    page.press("Your key")
    page.answer("Remove key")
    page.web.wait_text(DIALOG, "forgets")
    page.answer("Remove key")
    page.web.wait_text(page.within, "not entered a key")
    assert not page.web.all(page.css(".lb-Storage-bucket"))


def enter(page: StoragePage, button: str, key: str, secret: str, done: str) -> None:
    """Press the button, and enter a key in the window that comes."""
    buttons = page.css("button")
    page.web.until(
        f"a button {button}",
        lambda: any(one.text == button for one in page.web.all(buttons)),
    )
    page.web.press(page.web.find(page.within), button)
    fill(page, key, secret, done)


def fill(page: StoragePage, key: str, secret: str, done: str) -> None:
    page.web.find(f"{DIALOG} [name=access_key]")
    page.answer(done, access_key=key, secret_key=secret)
