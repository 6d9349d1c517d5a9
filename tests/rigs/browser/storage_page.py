"""What a person does with the storage panel, on its page or in the sidebar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from rigs.browser.browser import Browser
from rigs.hub.process import PASSWORD

ROWS = ".lb-Storage-rows .lb-Storage-line"
DIALOG = "dialog.lb-Kit-dialog[open]"
CONTRAST = Path(__file__).with_name("contrast.js").read_text()
"""Lists what stands out too little, or is too small, below a selector."""
# Tells of what the page's policy stopped, and of what it did not.
_WATCH = """
window.stopped = [];
addEventListener('securitypolicyviolation', e => window.stopped.push(e.blockedURI));
window.alert = window.confirm = window.prompt = () => { window.pwned = 1; };
"""
# What a name would make if it were taken for more than text.
_FOREIGN = ":is(img, iframe, script, style, details, form, math, meta, base)"


class StoragePage:
    """The panel in a browser that is signed in."""

    def __init__(self, web: Browser, within: str = "#storage") -> None:
        self.web = web
        self.within = within

    def open(self, place: str = "") -> None:
        """Show the page, at a bucket and prefix if one is given."""
        self.web.open("/hub/health")  # another document: an anchor alone loads nothing
        self.web.open(f"/services/storage/{f'#{place}' if place else ''}")
        self.web.find(f"{self.within} .lb-Storage-bucket")

    def be(self, user: str) -> None:
        """Sign in as somebody else."""
        self.forget()
        self.web.sign_in(user, PASSWORD)

    def forget(self) -> None:
        """Drop the sessions of hub and service, at paths of their own."""
        self.web.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def search(self, text: str) -> None:
        """Show only names that begin like this."""
        field = self.web.find(self.css(".lb-Storage-search"))
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE, text)

    def css(self, css: str) -> str:
        return f"{self.within} {css}"

    def show(self, view: str) -> None:
        self.web.find(self.css(f"[data-view={view}]")).click()

    def rows(self) -> list[str]:
        """The names of the lines that are drawn."""
        return self.web.run(
            "return [...document.querySelectorAll(arguments[0])].map(n => n.innerText)",
            self.css(f"{ROWS} .lb-Storage-name bdi"),
        )

    def wait_rows(self, *names: str, seconds: float = 30) -> None:
        self.web.until(
            f"lines {names}; there are {self.rows()[:20]}",
            lambda: set(names) <= set(self.rows()),
            seconds,
        )

    def row(self, name: str) -> WebElement:
        """The line of a name."""

        def look() -> WebElement | None:
            for line in self.web.all(self.css(ROWS)):
                if line.find_element(By.CSS_SELECTOR, "bdi").text == name:
                    return line
            return None

        return self.web.until(f"a line {name}", look)

    def choose(self, *names: str) -> None:
        """Tick these lines, and no others."""
        self.keys(Keys.ESCAPE)
        for name in names:
            self.row(name).find_element(By.CSS_SELECTOR, "input").click()

    def go_to_bucket(self, name: str) -> None:
        """Show the top of a bucket, wherever the panel was left before."""
        bucket = self.web.find(self.css(f"[data-bucket={name}]"))
        bucket.find_element(By.CSS_SELECTOR, "button").click()

    def press(self, label: str) -> None:
        """Press the tool with this label."""
        self.web.find(self.css(f'button[aria-label="{label}"]')).click()

    def keys(self, *keys: str) -> None:
        """Press keys where the list has the focus."""
        table = self.web.find(self.css(".lb-Storage-table"))
        self.web.run("arguments[0].focus()", table)
        table.send_keys(*keys)

    def give(self, kind: str, *files: Path) -> None:
        """Give files as the browser's own window for choosing them does."""
        (field,) = self.web.all(self.css(f"input[data-upload={kind}]"))
        field.send_keys("\n".join(map(str, files)))

    def drop(self, *paths: Path) -> None:
        """Drag files or folders over the list, see that it says so, and drop them."""
        box = self.web.find(self.css(".lb-Storage-table")).rect
        facts = {
            "x": box["x"] + box["width"] / 2,
            "y": box["y"] + box["height"] / 2,
            "data": {"items": [], "files": list(map(str, paths))}
            | {"dragOperationsMask": 1},
        }
        for kind in ("dragEnter", "dragOver"):
            drag = {"type": kind, **facts}
            self.web.driver.execute_cdp_cmd("Input.dispatchDragEvent", drag)
        self.web.find(self.css(".lb-Storage-browse[data-over=true]"))
        drop = {"type": "drop", **facts}
        self.web.driver.execute_cdp_cmd("Input.dispatchDragEvent", drop)

    def answer(self, button: str, **fields: Any) -> None:
        """Fill in the dialog that is open, and press one of its buttons."""
        for name, value in fields.items():
            field = self.web.find(f"{DIALOG} [name={name}]")
            field.send_keys(value)
        dialog = self.web.find(DIALOG)
        self.web.until(f"{button} can be pressed", lambda: self._button(button))
        self.web.press(dialog, button)

    def _button(self, words: str) -> bool:
        found = self.web.all(f"{DIALOG} button")
        return any(one.text == words and one.is_enabled() for one in found)

    def sent(self) -> int:
        """How many bytes of the first upload have arrived, by its bar."""
        bars = self.web.all(self.css("[data-upload-state=sending] progress"))
        return int(float(bars[0].get_attribute("value") or 0)) if bars else 0

    @contextmanager
    def slow_line(self, bytes_per_second: int = 8_000_000) -> Iterator[None]:
        """A line by which there is a middle of an upload to be seen."""
        facts = {"offline": False, "latency": 0, "downloadThroughput": -1}
        cdp, name = self.web.driver.execute_cdp_cmd, "Network.emulateNetworkConditions"
        cdp("Network.enable", {})
        cdp(name, facts | {"uploadThroughput": bytes_per_second})
        try:
            yield
        finally:
            cdp(name, facts | {"uploadThroughput": -1})

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have pages that are opened tell what acted on them, or wanted to."""
        cdp = self.web.driver.execute_cdp_cmd
        added = cdp("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        try:
            yield
        finally:
            cdp("Page.removeScriptToEvaluateOnNewDocument", added)

    def assert_inert(self) -> None:
        """Nothing that is shown has acted, or is more than text."""
        assert self.web.run("return window.pwned") is None
        assert self.web.run("return window.stopped") == []
        assert self.web.driver.title == "Storage · Landbridge"
        assert not self.web.all(self.css(_FOREIGN))

    def wait_closed(self) -> None:
        self.web.until("the dialog is closed", lambda: not self.web.all(DIALOG))
