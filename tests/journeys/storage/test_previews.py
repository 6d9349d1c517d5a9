"""Objects of every kind, shown on the storage page; hostile ones stay inert."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from rigs.browser.browser import Browser
from rigs.browser.storage_page import StoragePage
from rigs.browser.stored import Stored
from rigs.lab.large_files import large_files
from rigs.lab.preview_files import all_files

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

# What is seen of each, and what its tree offers to open with what comes of it.
SHOWN = {
    "words.txt": ("Plain words.\n<b>not bold</b>", None),
    "data.json": ("list of 3", None),
    "lines.jsonl": ('{"n": 2}', None),
    "table.csv": ("3755251", None),
    "zstd.parquet": ("Rows 1 to 100 of 2,000", None),
    "table.arrow": ("timestamp", None),
    "grey.png": ("Pixels", None),
    "paper.pdf": ("Page 1", None),
    "book.ipynb": ("print(6 * 7)", None),
    "v2.zarr/.zgroup": ("grid", ("level", "180")),
    "v3.zarr/zarr.json": ("grid", ("level", "180")),
    "sharded.zarr/zarr.json": ("grid", ("level", "180")),
    "grid.h5": ("<b>grid</b>", ("level", "180")),
    "tides.nc": ("float (time = 3)", ("level", "0")),
    "classic5.nc": ("int64 (y = 30, x = 16)", ("grid_i8", "99")),
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
    "groups.boast.parquet": "claims 2,147,483,647 entries",
    "rows.boast.parquet": "claims a row group",
    "records.claims.nc": "has room for 512",
}
# How much of an object of 16 MB and more its preview may read, in bytes.
KIB, MIB = 2**10, 2**20
ENOUGH = {
    "large.txt": 260 * KIB,
    "large.csv": 516 * KIB,
    "large.jsonl": 2052 * KIB,
    "large.parquet": 1.2 * MIB,
    "large.arrow": 1.3 * MIB,
    "large.pdf": 2 * MIB,
    "large.nc": 68 * KIB,
    "large.h5": 1.5 * MIB,
    "large.zarr/zarr.json": 8 * KIB,
    "large.safetensors": 12 * KIB,
    "large.gguf": 1.1 * MIB,
}
READ = (
    "return performance.getEntriesByType('resource')"
    ".filter(e => e.name.includes('/s3/'))"
    ".reduce((sum, e) => sum + e.encodedBodySize, 0)"
)
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
    files = {**all_files(), **large_files()}
    stored.put({f"look/{_folder(k)}/{k}": data for k, data in files.items()})
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

    def turn(self, control: str, keys: str, *words: str) -> None:
        """Type into a control of the table; wait until any of the words is there."""
        found = self.web.all(f"[data-control='{control}']")[0]
        found.send_keys(keys)
        self.web.until(
            f"{words} after {control}",
            lambda: any(one in self.web.text(".pager") for one in words),
        )


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


def test_of_an_object_that_is_much_larger_no_more_is_read_than_is_needed(page) -> None:
    for name, most in ENOUGH.items():
        page.web.driver.switch_to.default_content()
        page.web.run("performance.clearResourceTimings()")
        page.look(name)
        assert page.web.run("return document.body.dataset.state") == "shown", name
        page.web.driver.switch_to.default_content()
        assert 0 < page.web.run(READ) <= most, name


def test_a_table_is_turned_by_keyboard(page) -> None:
    """Across row groups and batches, each of them much smaller than a window."""
    for name, total in (("small.parquet", "3,000"), ("small.arrows", "105 or more")):
        assert f"Rows 1 to 100 of {total}" in page.look(name)
        page.turn("row-next", Keys.ENTER, "Rows 101 to 200 of")
        assert (
            page.web.run("return document.activeElement.dataset.control") == "row-next"
        )
        assert page.web.all(".is-window tbody td")[0].text == "100"
        page.turn("row-previous", Keys.ENTER, "Rows 1 to 100 of")
        # There is nothing before: the focus goes into the table.
        assert page.web.run("return document.activeElement.className") == "scrolls"
        page.turn("row-number", "1,235" + Keys.ENTER, "Rows 1,235 to 1,334 of")
        assert page.web.all(".is-window tbody td")[0].text == "1234"
        page.turn(
            "row-number", "9999" + Keys.ENTER, "table has 2,800", "table has 3,000"
        )
        page.turn("row-number", "x" + Keys.ENTER, "Type the number of a row")
        assert page.web.all(".is-window tbody td")[0].text == "1234"
    assert "Columns 1 to 50 of 300" in page.look("wide.parquet")
    page.turn("column-next", Keys.ENTER, "Columns 51 to 100 of 300")
    page.turn("column-number", "300" + Keys.ENTER, "Columns 300 to 300 of 300")
    assert page.web.all(".is-window thead th")[1].text.startswith("c299")


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
    assert page.web.driver.title == "Storage · Landbridge"


def test_the_frame_has_no_rights_when_it_is_opened_by_itself(web) -> None:
    web.open("/services/storage/preview")
    assert web.run("return window.origin") == "null"
    assert web.run("return document.body.childElementCount") == 0
