"""Uploads that something goes wrong with: they wait or fail in words, and end whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rigs.browser.browser import Browser
from rigs.browser.storage_page import CONTRAST, StoragePage
from rigs.browser.stored import Stored, standing_still
from rigs.hub.process import HubProcess, until

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

LARGE = 120_000_000
PART = 8 * 2**20
# A file that the page holds by a handle: one of the browser's own file system, since
# no window to choose files can be answered here. All that follows is the same.
KEEP = """
const [name, size, done] = arguments;
(async () => {
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle(name, { create: true });
  const writer = await handle.createWritable();
  const bytes = new Uint8Array(size);
  const block = crypto.getRandomValues(new Uint8Array(65536));
  for (let at = 0; at < size; at += block.length) {
    block[0] = at >> 16; // no part is like another
    bytes.set(block.subarray(0, size - at), at);
  }
  await writer.write(bytes);
  await writer.close();
  window.showOpenFilePicker = async () => [handle];
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest].map(one => one.toString(16).padStart(2, '0')).join('');
})().then(done, error => done(String(error)));
"""
# Without a window nobody can answer the browser's question, so this does.
PERMISSION = """
FileSystemHandle.prototype.queryPermission = async () => said;
FileSystemHandle.prototype.requestPermission = async () => {
  window.askedByClick = navigator.userActivation.isActive;
  return 'granted';
};
"""
# The next try comes ever later; for a page whose network comes back it is now.
HURRY = "dispatchEvent(new Event('online'))"
PARTS_SENT = (
    "return performance.getEntriesByType('resource').filter(e => e.startTime >"
    " arguments[0] && e.name.includes('partNumber=')).length"
)


@contextmanager
def cut_off(web: Browser, pattern: str) -> Iterator[None]:
    """Whatever goes to such addresses fails, as by a line that is cut."""
    cdp = web.driver.execute_cdp_cmd
    cdp("Network.enable", {})
    cdp("Network.setBlockedURLs", {"urls": [pattern]})
    try:
        yield
    finally:
        cdp("Network.setBlockedURLs", {"urls": []})


def store_process(hub: HubProcess) -> int:
    told = json.loads((hub.state / "store" / "process.json").read_text())
    return int(told["pid"])


def give_large(page: StoragePage, path: Path) -> bytes:
    """Give a large file and wait until some of it has arrived; return what it holds."""
    content = random.Random(path.name).randbytes(LARGE)
    path.write_bytes(content)
    page.give("files", path)
    page.show("uploads")
    page.web.until("a part has arrived", lambda: page.sent() > 4.1 * PART, 90)
    return content


def wait_whole(page: StoragePage, stored: Stored, key: str, digest: str) -> None:
    """Wait until it is done, and see that all of it is there and nothing else."""
    page.web.find(page.css("[data-upload-state=done]"), 120)
    assert stored.sha256(key) == digest
    assert stored.keys() == [key]
    assert stored.unfinished() == []
    assert not page.web.all(page.css(".lb-Kit-problem"))


def test_a_store_that_dies_in_the_middle_is_waited_for(
    page, stored, site, tmp_path
) -> None:
    with page.slow_line():
        content = give_large(page, tmp_path / "dies.bin")
        died, keeper = store_process(site.hub), site.hub.service_pid("storage")
        os.kill(keeper, signal.SIGSTOP)  # or another store is there at once
        try:
            os.kill(died, signal.SIGKILL)
            page.web.wait_text(page.css("[data-upload-state]"), "It is tried again")
        finally:
            os.kill(keeper, signal.SIGCONT)
    until("another store", lambda: store_process(site.hub) != died)
    digest = hashlib.sha256(content).hexdigest()
    wait_whole(page, stored, "dies.bin", digest)


def test_a_store_that_stands_still_is_waited_for_in_words(
    page, stored, site, tmp_path
) -> None:
    with page.slow_line():
        content = give_large(page, tmp_path / "still.bin")
        with standing_still(site.hub):
            page.web.wait_text(page.css("[data-upload-state]"), "does not answer")
        assert stored.keys() == []  # nothing half shows as a whole
    wait_whole(page, stored, "still.bin", hashlib.sha256(content).hexdigest())


def test_a_failed_upload_says_so_and_goes_on_by_hand(page, stored, tmp_path) -> None:
    with page.slow_line():
        content = give_large(page, tmp_path / "fails.bin")
        with cut_off(page.web, "*/s3/*"):

            def failed() -> bool:
                page.web.run(HURRY)
                return bool(page.web.all(page.css("[data-upload-state=failed]")))

            page.web.until("it has failed", failed)
            line = page.web.find(page.css("[data-upload-state=failed]"))
            assert "failed" in line.text
            assert "The connection to the store broke." in line.text
            assert page.web.run(CONTRAST, "#storage") == []
        page.show("browse")
        assert stored.keys() == []
        page.press("Read again")
        # An emptied folder of another test may still be listed.
        page.web.until("nothing half is shown", lambda: "fails.bin" not in page.rows())
        (begun,) = stored.unfinished()
        where = {"bucket": "alice", "key": "fails.bin"}
        where["upload_id"] = begun["upload_id"]
        parts = stored.rest.get("uploads/parts", params=where).json()["parts"]
    page.show("uploads")
    began = page.web.run("return performance.now()")
    page.press("Go on with all")
    wait_whole(page, stored, "fails.bin", hashlib.sha256(content).hexdigest())
    assert parts
    assert page.web.run(PARTS_SENT, began) == -(-LARGE // PART) - len(parts)


@pytest.fixture(params=["granted", "prompt"])
def permission(request, page) -> Iterator[str]:
    """What the browser says of a file that it holds, from the next page on."""
    script = {"source": f"const said = '{request.param}';{PERMISSION}"}
    added = page.web.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", script
    )
    yield request.param
    page.web.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_file_that_the_browser_holds_goes_on_after_a_reload(
    page, stored, permission
) -> None:
    name = "held.bin"
    digest = page.web.driver.execute_async_script(KEEP, name, LARGE)
    assert len(digest) == 64, digest
    with page.slow_line():
        page.press("Upload")
        page.show("uploads")
        page.web.until("a part has arrived", lambda: page.sent() > 4.1 * PART, 90)
        page.web.driver.refresh()
        page.show("uploads")
        if permission == "prompt":
            page.web.find(page.css("[data-upload-state=paused]"))
            page.press(f"Go on with {name}")
        page.web.find(page.css("[data-upload-state=sending]"))
        assert stored.keys() == []
    wait_whole(page, stored, name, digest)
    # Only by a click may a page ask.
    asked = None if permission == "granted" else True
    assert page.web.run("return window.askedByClick") == asked
    assert 0 < page.web.run(PARTS_SENT, 0) < -(-LARGE // PART)


def test_a_dropped_file_waits_for_its_persons_word_after_a_reload(
    page, stored, tmp_path
) -> None:
    big = tmp_path / "dropped.bin"
    big.write_bytes(random.Random(1).randbytes(LARGE))
    with page.slow_line():
        page.drop(big)
        page.show("uploads")
        page.web.until("a part has arrived", lambda: page.sent() > 4.1 * PART, 90)
        page.web.driver.refresh()
        page.show("uploads")
        page.web.find(page.css("[data-upload-state=paused]"))
    page.press("Remove dropped.bin")
    page.web.until("its parts are gone", lambda: stored.unfinished() == [])
    assert stored.keys() == []
