"""Hostile names in the panel's other views, in JupyterLab's drive and in its cells."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rigs.browser.browser import Browser
from rigs.browser.hostile_names import hostile_folders, hostile_names
from rigs.browser.storage_page import StoragePage
from rigs.browser.stored import Stored

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

FOLDER = hostile_folders()[0] + "/"
NAMES = hostile_names()
# Names that hide, turn or break what stands around them, as the panel shows them.
SHOWN = {
    "line\nbreak.txt": "line␊break.txt",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.txt": "⟨202E⟩gpj.txt",
    "\N{RIGHT-TO-LEFT ISOLATE}a\N{ZERO WIDTH SPACE}.txt": "⟨2067⟩a⟨200B⟩.txt",
    "it's \"quoted\" '''.txt": "it's \"quoted\" '''.txt",
    '"); pwned = 1; ("%s{x}.txt': '"); pwned = 1; ("%s{x}.txt',
}
MORE = 20
LINES = "[data-upload-state] bdi"
CELLS = ".jp-NotebookPanel .jp-CodeCell"


def texts(page: StoragePage, css: str) -> list[str]:
    return page.web.run(
        "return [...document.querySelectorAll(arguments[0])].map(n => n.textContent)",
        page.css(css),
    )


@pytest.fixture
def watched(page: StoragePage) -> Iterator[StoragePage]:
    with page.watched():
        page.open()
        yield page


@pytest.mark.long
def test_files_of_any_name_are_uploaded(watched, stored, tmp_path) -> None:
    page = watched
    folder = tmp_path / "bad"
    folder.mkdir()
    names = [*NAMES, *SHOWN]
    for name in names:
        (folder / name).write_text("x")
    page.drop(folder)
    page.show("uploads")
    page.web.until(
        "all are done",
        lambda: len(page.web.all(page.css("[data-upload-state=done]"))) >= 100,
        180,
    )
    wanted = {f"bad/{name}" for name in names}
    page.web.until("all are there", lambda: set(stored.keys()) == wanted, 90)
    page.web.press(page.web.find(page.within), f"{len(names) - 100} more files")
    page.web.until("all are shown", lambda: len(texts(page, LINES)) == len(names))
    plain = [name for name in names if name.isprintable()]
    wanted = {f"bad/{name}" for name in (*plain, *SHOWN.values())}
    assert set(texts(page, LINES)) >= wanted
    page.assert_inert()


def test_other_views_show_names_as_text(watched, stored) -> None:
    page = watched
    keys = [FOLDER + name for name in SHOWN]
    stored.put(dict.fromkeys(keys, b"x"))
    for key in keys:
        wish = {"bucket": "alice", "key": key + "x", "size": 20 * 2**20}
        stored.rest.post("uploads", json=wish).raise_for_status()
        link = {"bucket": "alice", "key": key, "expires": None}
        stored.rest.post("links", json=link).raise_for_status()
    share = {"bucket": "alice", "prefix": FOLDER, "mode": "read", "kind": "user"}
    share |= {"name": "bob", "expires": None}
    stored.rest.post("shares", json=share).raise_for_status()
    task = {"kind": "copy", "bucket": "alice", "prefix": FOLDER + "\u202e/"}
    task["source"] = {"bucket": "alice", "keys": keys[:1]}
    stored.rest.post("tasks", json=task).raise_for_status()
    page.open()

    shown = [FOLDER + name for name in SHOWN.values()]
    page.show("unfinished")
    page.web.until(
        "all are listed",
        lambda: set(texts(page, "bdi")) >= {f"{name}x" for name in shown},
    )
    labels = "return [...document.querySelectorAll(arguments[0])].map(n => n.title)"
    titles = page.web.run(labels, page.css("[data-unfinished] button"))
    assert set(titles) == {f"Throw away the upload of {name}x" for name in shown}
    page.assert_inert()

    page.show("shares")
    page.web.find(page.css("[data-share]"))
    page.web.until("links", lambda: len(texts(page, "bdi")) >= len(keys) + 1)
    found = set(texts(page, "bdi"))
    assert found >= {f"alice/{name}" for name in [FOLDER, *shown]}
    page.assert_inert()

    page.show("tasks")
    page.web.find(page.css("[data-phase=done]"))
    assert f"Copied {shown[0]} to alice/{FOLDER}⟨202E⟩/" in texts(page, "bdi")
    page.assert_inert()

    page.show("shares")
    page.press("Revoke the share with bob")
    for _ in keys:
        left = len(page.web.all(page.css('[aria-label="End this link"]')))
        page.press("End this link")
        ends = page.css('[aria-label="End this link"]')
        page.web.until("it is gone", lambda n=left, c=ends: len(page.web.all(c)) < n)


@pytest.fixture
def lab(web: Browser, stored: Stored) -> Iterator[Browser]:
    """JupyterLab, and a folder with such names."""
    keys = {FOLDER + name: name.encode() for name in SHOWN}
    stored.put(keys | {FOLDER + name: b"x" for name in NAMES[:MORE]})
    page = StoragePage(web)
    with page.watched():
        web.start("alice", "small")
        web.wait_path("/user/alice/lab", seconds=90)
        yield web
        web.leave("/hub/home")


def libraries() -> str:
    """Where the libraries are that users have."""
    python = os.environ["LANDBRIDGE_TEST_CLIENTS"]
    where = "import fsspec, pathlib; print(pathlib.Path(fsspec.__file__).parents[1])"
    done = subprocess.run([python, "-c", where], capture_output=True, check=True)
    return done.stdout.decode().strip()


def run_inserted(web: Browser) -> str:
    """Run the cell that was put in last, and have it print what it has read."""
    cell = next(one for one in reversed(web.all(CELLS)) if "s3" in one.text)
    what = "data.decode()" if "get_object" in cell.text else "text"
    cell.find_element(By.CSS_SELECTOR, ".cm-content").click()
    chain = ActionChains(web.driver).key_down(Keys.CONTROL).send_keys(Keys.END)
    chain.key_up(Keys.CONTROL).send_keys(Keys.ENTER).perform()
    # Without indentation, and without the editor's own closing of brackets.
    chain = ActionChains(web.driver).send_keys(
        Keys.HOME, f"print('GOT', ascii({what}))"
    )
    chain.key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()

    def look() -> str | None:
        found = cell.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")
        text = "\n".join(one.text for one in found)
        assert "Traceback" not in text, text
        return text.partition("GOT ")[2] or None

    return web.until("what was read", look)


@pytest.mark.long
def test_the_drive_and_inserted_code_take_names_as_they_are(lab: Browser) -> None:
    lab.run_cell(f"import sys; sys.path.append({libraries()!r}); print(len(sys.path))")
    lab.find('[data-id="landbridge-storage"]').click()
    panel = StoragePage(lab, "#landbridge-storage")
    panel.go_to_bucket("alice")
    for part in FOLDER.rstrip("/").split("/"):
        panel.row(part + "/").find_element(By.CSS_SELECTOR, "button").click()
    for number, (name, shown) in enumerate(SHOWN.items()):
        panel.search(name[:2])
        panel.choose(shown)
        panel.press("Insert code")
        lab.until(
            "the code is there",
            lambda n=number: sum("s3" in cell.text for cell in lab.all(CELLS)) > n,
        )
        assert run_inserted(lab) == ascii(name)
    panel.press("Open in the file browser")
    # A path of JupyterLab cannot say every name: such a one is left out, not changed.
    names = [name for name in (*SHOWN, *NAMES[:MORE]) if "\n" not in name]
    css = "#landbridge-buckets .jp-DirListing-item .jp-DirListing-itemText"
    lab.until("they are listed", lambda: len(lab.all(css)) == len(names), 180)
    listed = (
        "return [...document.querySelectorAll(arguments[0])].map(n => n.textContent)"
    )
    assert set(lab.run(listed, css)) == set(names)
    assert lab.run("return window.pwned") is None
    foreign = "#landbridge-buckets :is(img, iframe, script, form, base, details)"
    assert not lab.all(foreign)
