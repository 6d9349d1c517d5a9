"""Buckets as a drive of JupyterLab, code for objects, and copies to and from home."""

from __future__ import annotations

import json
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from rigs.browser.browser import Browser
from rigs.browser.storage_page import StoragePage
from rigs.browser.stored import Stored

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

CELLS = ".jp-NotebookPanel .jp-CodeCell .cm-content"
EDITOR = "#landbridge-buckets input.jp-DirListing-editor"
# What a mouse does: selenium's own dragging sends no events of HTML.
DRAG = """
const [row, target] = arguments;
const data = new DataTransfer();
const event = {bubbles: true, cancelable: true, dataTransfer: data};
row.dispatchEvent(new DragEvent('dragstart', event));
target.dispatchEvent(new DragEvent('dragover', event));
target.dispatchEvent(new DragEvent('drop', event));
"""


def notebook(source: str) -> bytes:
    cell = {"cell_type": "code", "execution_count": None, "id": "a"}
    cell |= {"metadata": {}, "outputs": [], "source": source}
    whole = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole).encode()


class Desk:
    """JupyterLab with the storage panel, and what is really in bucket and home."""

    def __init__(self, web: Browser, stored: Stored, home: Path) -> None:
        self.web = web
        self.stored = stored
        self.home = home
        self.panel = StoragePage(web, "#landbridge-storage")

    def open_panel(self) -> None:
        self.web.find('.jp-SideBar [data-id="landbridge-storage"]', 60).click()
        self.web.find(self.panel.css(".lb-Storage-bucket"))

    def entry(self, name: str, within: str = "#landbridge-buckets") -> WebElement:
        """A line of a file browser."""

        def look() -> WebElement | None:
            lines = self.web.all(f"{within} .jp-DirListing-item")
            return next((one for one in lines if one.text.startswith(name)), None)

        return self.web.until(f"{name} in {within}", look)

    def press(self, *keys: str) -> None:
        ActionChains(self.web.driver).send_keys(*keys).perform()

    def save(self, words: str) -> None:
        """Add words to the first cell and save."""
        self.web.find(CELLS).click()
        chain = ActionChains(self.web.driver).send_keys(Keys.END, words)
        chain.key_down(Keys.CONTROL).send_keys("s").key_up(Keys.CONTROL).perform()

    def cells(self) -> list[str]:
        return [cell.text for cell in self.web.all(CELLS)]

    def answer(self, words: str, button: str) -> None:
        """Press a button of JupyterLab's dialog that says so."""
        self.web.wait_text(".jp-Dialog", words)
        self.web.press(self.web.find(".jp-Dialog"), button)
        self.web.until(
            "the dialog is closed",
            lambda: not any(words in one.text for one in self.web.all(".jp-Dialog")),
        )

    def content(self, key: str) -> bytes:
        wish = {"bucket": "alice", "key": key}
        url = self.stored.rest.post("urls/download", json=wish).json()["url"]
        return httpx.get(url, trust_env=False).content

    def wait_content(self, key: str, words: bytes) -> None:
        self.web.until(f"{words!r} in {key}", lambda: words in self.content(key))

    def wait_keys(self, *keys: str) -> None:
        self.web.until(f"the keys {keys}", lambda: self.stored.keys() == list(keys))


@pytest.fixture
def desk(web: Browser, site) -> Iterator[Desk]:
    home = Path(pwd.getpwnam("alice").pw_dir)
    stored = Stored(site.hub, "alice")
    stored.empty()
    stored.put(
        {
            "work/note.ipynb": notebook("first = 1"),
            "work/words.txt": b"plain\n",
            "work/t.csv": b"a,b\n1,2\n",
        }
    )
    web.start("alice", "small")
    web.wait_path("/user/alice/lab", seconds=90)
    web.driver.get(web.driver.current_url.split("?")[0].split("/lab")[0] + "/lab?reset")
    yield Desk(web, stored, home)
    web.leave("/hub/home")
    stored.empty()
    stored.close()
    (home / "t.csv").unlink(missing_ok=True)
    shutil.rmtree(home / "of-home", ignore_errors=True)


def edit_in_place(desk: Desk) -> None:
    """A notebook is edited in its bucket; what others do meanwhile is not lost."""
    ActionChains(desk.web.driver).double_click(desk.entry("note.ipynb")).perform()
    desk.web.wait_text(".jp-Dialog", "Select Kernel", seconds=60)
    Select(desk.web.find(".jp-Dialog select")).select_by_visible_text("No Kernel")
    desk.answer("Select Kernel", "Select")
    desk.save("; second = 2")
    desk.wait_content("work/note.ipynb", b"second = 2")

    desk.stored.put({"work/note.ipynb": notebook("theirs = 3")})
    desk.save("; third = 4")
    desk.answer("changed on disk", "Revert")
    desk.web.wait_text(CELLS, "theirs = 3")
    desk.stored.put({"work/note.ipynb": notebook("again = 5")})
    desk.save("; mine = 6")
    desk.answer("changed on disk", "Overwrite")
    desk.wait_content("work/note.ipynb", b"theirs = 3; mine = 6")
    # No checkpoints, no parts: only what she has put there.
    desk.wait_keys("work/note.ipynb", "work/t.csv", "work/words.txt")


def rename(desk: Desk, name: str, to: str) -> None:
    desk.entry(name).click()
    desk.press(Keys.F2)
    field = desk.web.find(EDITOR)
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys(to, Keys.ENTER)


def rename_and_delete(desk: Desk) -> None:
    rename(desk, "words.txt", "t.csv")  # is there already
    desk.answer("already", "Cancel")
    desk.wait_keys("work/note.ipynb", "work/t.csv", "work/words.txt")
    desk.web.until("the field has closed", lambda: not desk.web.all(EDITOR))
    rename(desk, "words.txt", "new name.txt")
    desk.wait_keys("work/new name.txt", "work/note.ipynb", "work/t.csv")
    desk.entry("new name.txt").click()
    desk.press(Keys.DELETE)
    desk.answer("permanently delete", "Delete")
    desk.wait_keys("work/note.ipynb", "work/t.csv")


def delete_a_folder(desk: Desk) -> None:
    """JupyterLab's question knows no number; ours tells it, and can be declined."""
    before = desk.stored.keys()
    desk.stored.put({"work/old/1": b"1", "work/old/2/3": b"333"})
    desk.open_panel()
    desk.panel.press("Open in the file browser")  # which reads the folder again
    for button in ("Cancel", "Delete all"):
        desk.entry("old").click()
        desk.press(Keys.DELETE)
        desk.answer("permanently delete", "Delete")
        desk.web.wait_text(".jp-Dialog", "This deletes 2 objects, 4 B.")
        desk.answer("Delete all in alice/work/old?", button)
        if button == "Cancel":
            assert len(desk.stored.keys()) == len(before) + 2
    desk.wait_keys(*before)
    assert not desk.web.all(".jp-Dialog")  # declining was no failure


def insert_code(desk: Desk) -> None:
    """Code goes into a new cell: by the tool, and by dropping an object."""
    desk.panel.press("Read again")
    desk.panel.choose("t.csv")
    desk.panel.press("Insert code")
    code = 'df = pd.read_csv("s3://alice/work/t.csv")'
    desk.web.until("a second cell", lambda: len(desk.cells()) == 2)
    assert code in desk.cells()[1]
    row, target = desk.panel.row("note.ipynb"), desk.web.all(CELLS)[0]
    desk.web.run(DRAG, row, target)
    desk.web.until("a third cell", lambda: len(desk.cells()) == 3)
    assert "json.load(file)" in desk.cells()[1]


def preview(desk: Desk) -> None:
    """The frame works on JupyterLab's page too, by its own server's relay."""
    desk.panel.choose("t.csv")
    desk.panel.press("Preview")
    frame = desk.web.find(desk.panel.css(".lb-Storage-frame iframe"))
    desk.web.driver.switch_to.frame(frame)
    desk.web.wait_text("table", "2")
    assert desk.web.run("return window.origin") == "null"
    desk.web.driver.switch_to.default_content()
    desk.panel.press("Close the preview")


def copy_both_ways(desk: Desk) -> None:
    desk.panel.choose("t.csv")
    desk.panel.press("Copy to home")
    desk.answer("Copy into which folder?", "Select")
    desk.web.wait_text("body", "Copied 1 file from alice to home")
    assert (desk.home / "t.csv").read_bytes() == b"a,b\n1,2\n"

    alice = pwd.getpwnam("alice")
    folder = desk.home / "of-home"
    folder.mkdir()
    (folder / "x.txt").write_text("from home")
    shutil.chown(folder, alice.pw_uid, alice.pw_gid)
    desk.panel.keys(Keys.ESCAPE)
    desk.panel.press("Copy from home")
    desk.answer("What shall be copied", "A folder…")
    desk.entry("of-home", ".jp-Dialog").click()
    desk.answer("Copy which folder?", "Select")
    desk.wait_content("work/of-home/x.txt", b"from home")
    desk.web.wait_text("body", "Copied 1 file to alice/work/")


def test_a_bucket_is_a_drive_beside_home(desk: Desk) -> None:
    desk.open_panel()
    desk.panel.go_to_bucket("alice")
    desk.panel.row("work/").click()
    desk.panel.keys(Keys.ENTER)
    desk.panel.wait_rows("note.ipynb")
    desk.panel.press("Open in the file browser")
    edit_in_place(desk)
    rename_and_delete(desk)
    delete_a_folder(desk)
    desk.open_panel()
    insert_code(desk)
    preview(desk)
    copy_both_ways(desk)
