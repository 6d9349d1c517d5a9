"""Objects of every kind, shown on the storage page; hostile ones stay inert."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser import Browser
from preview_files import all_files
from storage_page import StoragePage
from stored import Stored

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

# What is seen of each, and what its tree offers to open with what comes of it.
SHOWN = {
    "words.txt": ("Plain words.\n<b>not bold</b>", None),
    "data.json": ("list of 3", None),
    "lines.jsonl": ('{"n": 2}', None),
    "table.csv": ("3755251", None),
    "zstd.parquet": ("Only the first 100 rows of 2,000 rows", None),
    "table.arrow": ("timestamp", None),
    "grey.png": ("Pixels", None),
    "paper.pdf": ("Page 1", None),
    "book.ipynb": ("print(6 * 7)", None),
    "v2.zarr/.zgroup": ("grid", ("level", "180")),
    "v3.zarr/zarr.json": ("grid", ("level", "180")),
    "sharded.zarr/zarr.json": ("grid", ("level", "180")),
    "grid.h5": ("<b>grid</b>", ("level", "180")),
    "tides.nc": ("float (time = 3)", None),
    "w.safetensors": ("10,890", None),
    "model.gguf": ("tiny model", None),
    "bytes.bin": ("00000010", None),
    "empty.txt": ("Empty object", None),
}
HOSTILE = {
    "evil.html": "<!doctype html>",
    "evil.svg": "SVG drawing",
    "evil.ipynb": "Title",
    "bomb.svg": "so often that it is not drawn",
    "bomb.parquet": "bytes unpacked",
    "huge.png": "claims to have 60000",
    "cut.png": "damaged or cut off",
    "cut.pdf": "damaged or cut off",
    "cut.h5": "damaged or cut off",
    "cut.parquet": "cut off",
    "deep.json": "not JSON",
}
WITNESS = """
window.stolen = [];
addEventListener('message', event => {
  if (typeof event.data === 'string') window.stolen.push(event.data);
});
"""
FRAME = ".lb-Storage-frame iframe"


@pytest.fixture(scope="module")
def stored(running_site) -> Iterator[Stored]:
    stored = Stored(running_site.hub, "alice")
    stored.empty()
    # Each in a folder of its own, so that lists are short.
    stored.put({f"look/{_folder(k)}/{k}": data for k, data in all_files().items()})
    yield stored
    stored.empty()
    stored.close()


def _folder(name: str) -> str:
    return name.split("/")[0].replace(".", "-")


class Looker(StoragePage):
    """The page with an object that is shown."""

    def look(self, name: str) -> str:
        """Show an object; return the text in its frame, and stay in there."""
        self.web.driver.switch_to.default_content()
        *between, last = f"look/{_folder(name)}/{name}".split("/")
        place = quote("/".join(["alice", *between, ""]), safe="")
        self.web.run("location.hash = arguments[0]", place)
        self.wait_rows(last)
        self.choose(last)
        before = self.web.all(self.css(FRAME))
        self.press("Preview")
        frame = self.web.until(
            "a new frame",
            lambda: next(
                (one for one in self.web.all(self.css(FRAME)) if one not in before),
                None,
            ),
        )
        self.web.driver.switch_to.frame(frame)
        self.web.until(
            f"{name} is shown",
            lambda: (
                self.web.run("return document.body.dataset.state")
                in ("shown", "failed")
            ),
        )
        return self.web.run("return document.body.innerText")


@pytest.fixture
def page(web: Browser, stored: Stored) -> Iterator[Looker]:
    page = Looker(web)
    page.open()
    page.web.run(WITNESS)
    yield page
    web.driver.switch_to.default_content()


def test_each_format_is_shown_without_reading_all(page) -> None:
    for name, (words, offer) in SHOWN.items():
        assert words in page.look(name), name
        if offer is not None:
            label, value = offer
            buttons = page.web.all(".tree button")
            next(one for one in buttons if one.text == label).click()
            page.web.wait_text(".opened", value)
        if name == "paper.pdf":
            drawn = "return document.querySelector('canvas').getAttribute('aria-label')"
            assert "Hello from a page" in page.web.run(drawn)
    page.look("grid.h5")
    page.web.driver.switch_to.default_content()
    read = page.web.run(
        "return performance.getEntriesByType('resource').filter(e => "
        "e.name.includes('/s3/') && e.name.includes('grid.h5'))"
        ".reduce((sum, e) => sum + e.encodedBodySize, 0)"
    )
    assert 0 < read < len(all_files()["grid.h5"])


def test_hostile_objects_are_inert(page) -> None:
    for name, words in HOSTILE.items():
        assert words in page.look(name), name
        # It has no origin, whatever embeds it: no cookies, no page around it.
        assert page.web.run("return window.origin") == "null"
        tries = (
            "return [() => document.cookie, () => localStorage, () => parent.document]"
            ".map(w => { try { return String(w()) } catch (e) { return e.name } })"
        )
        assert page.web.run(tries) == ["SecurityError"] * 3
        assert (
            page.web.driver.execute_async_script(
                "const done = arguments[0]; fetch('/hub/api/user')"
                ".then(() => done('read'), () => done('stopped'))"
            )
            == "stopped"
        )
        risky = "script:not([src*='preview-frame']), iframe, form, [onerror], a[href]"
        assert page.web.all(risky) == [], name
    page.web.driver.switch_to.default_content()
    assert page.web.run("return window.stolen") == []
    assert page.web.driver.title == "Storage"


def test_the_frame_has_no_rights_when_it_is_opened_by_itself(web) -> None:
    web.open("/services/storage/preview")
    assert web.run("return window.origin") == "null"
    assert web.run("return document.body.childElementCount") == 0
