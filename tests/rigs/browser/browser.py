"""A browser for tests and screenshots: waits for facts, never for the clock."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

DESKTOP = (1280, 900)
PHONE = (390, 844)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--lang=en",
)
PROGRAMS = ("chromium", "chromedriver")
_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
_MISSED = (NoSuchElementException, StaleElementReferenceException)


class Browser:
    """One window at a time; paths are relative to ``home``, the gateway's address."""

    def __init__(self, driver: webdriver.Chrome, home: str) -> None:
        self.driver = driver
        self.home = home

    def open(self, path: str) -> None:
        self.driver.get(self.home + path)

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.home)

    def until(self, what: str, look: Callable[[], Any], seconds: float = 60) -> Any:
        """Return the first true answer of ``look``; fail naming ``what``."""
        wait = WebDriverWait(self.driver, seconds, 0.1, ignored_exceptions=_MISSED)
        try:
            return wait.until(lambda _: look())
        except TimeoutException:
            page = self.driver.find_element(By.TAG_NAME, "body").text[:2000]
            if _NETWORK_CHANGED in page:  # other tests make networks of their own
                self.driver.refresh()
                return wait.until(lambda _: look())
            raise AssertionError(
                f"waited {seconds} s in vain for: {what}; at {self.path}:\n{page}"
            ) from None

    def find(self, css: str, seconds: float = 60) -> WebElement:
        """Return the first visible element, waiting for it."""

        def look() -> WebElement | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, css)
            return next((one for one in found if one.is_displayed()), None)

        return self.until(f"an element {css}", look, seconds)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str = "body") -> str:
        return self.find(css).text

    def wait_text(self, css: str, *words: str, seconds: float = 60) -> str:
        """Wait until an element's text has one of the words; return the text."""

        def look() -> str | None:
            text = self.driver.find_element(By.CSS_SELECTOR, css).text
            return text if any(word in text for word in words) else None

        return self.until(f"{' or '.join(words)} in {css}", look, seconds)

    def wait_path(self, *starts: str, seconds: float = 60) -> str:
        """Wait until the address starts with one of these; return it."""
        return self.until(
            f"an address {' or '.join(starts)}",
            lambda: self.path if self.path.startswith(starts) else None,
            seconds,
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def ready(self) -> None:
        """Wait until our page's script has run."""
        self.until(
            "the page's script", lambda: self.run("return window.landbridgeReady")
        )

    def size(self, width: int, height: int) -> None:
        """Show the page as a window of this inner size would."""
        facts = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**facts, "mobile": False}
        )

    def theme(self, name: str) -> None:
        """``light`` or ``dark``, as the person's system says."""
        media = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.run("localStorage.removeItem('jupyterhub-bs-theme')")

    def sign_in(self, name: str, password: str) -> None:
        """Sign in as ``name``, whoever was signed in before."""
        self.driver.delete_all_cookies()
        self.open("/hub/login")
        self.find("#username_input").send_keys(name)
        self.find("#password_input").send_keys(password)
        self.find("#login_submit").click()
        self.wait_path("/hub/home", "/hub/spawn", "/user/")

    def choose(self, profile: str) -> None:
        """Open the spawn page's card of a profile and wait for its preview."""
        self.ready()
        self.choose_only(profile)
        self.until(
            "the preview",
            lambda: self.text("#start-summary") not in ("", "Checking…"),
        )

    def choose_only(self, profile: str) -> None:
        """Press the spawn page's card of a profile."""
        self.find(f'.lb-card:has(input[value="{profile}"])').click()

    def press(self, inside: WebElement, label: str) -> None:
        """Press the button or link with this label inside an element."""
        found = inside.find_elements(By.CSS_SELECTOR, "a, button")
        next(one for one in found if one.text == label).click()

    def run_cell(self, code: str) -> str:
        """Run code in a new notebook of the JupyterLab shown; return what it prints."""
        card = '.jp-LauncherCard[data-category="Notebook"]'
        self.driver.get(self.driver.current_url.split("?")[0] + "?reset")
        self.find(card, 60).click()
        self.find('.jp-Notebook-ExecutionIndicator[data-status="idle"]', 60)
        # The one above is idle before there is a kernel at all.
        self.wait_text("#jp-main-statusbar", "| Idle", seconds=60)
        self.find(".jp-Notebook .jp-Cell .cm-content").click()
        self.find(".jp-Notebook.jp-mod-editMode")
        ActionChains(self.driver).send_keys(code).perform()
        self.wait_text(".jp-Notebook .jp-Cell .cm-content", code[-12:])
        keys = ActionChains(self.driver).key_down(Keys.SHIFT)
        keys.send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        return self.find(".jp-OutputArea-output", 60).text.strip()

    def set_field(self, name: str, value: str) -> None:
        """Replace what an input holds, as typing would."""
        field = self.find(f"#{name}")
        field.clear()
        field.send_keys(value)

    def settle(self) -> None:
        """Wait until the page has been drawn as it is now."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "document.fonts.ready.then("
            "() => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
        )

    def leave(self, path: str) -> None:
        """Open a path from a page that asks whether to leave it."""
        quiet = "addEventListener('beforeunload', e => e.stopImmediatePropagation(), 1)"
        self.run(quiet)
        self.open(path)

    def in_new_tab(self, path: str) -> str:
        """Open a path in a new tab and stay there; return the old tab's handle."""
        old = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.open(path)
        return old

    def close_others(self) -> None:
        """Leave one tab."""
        for handle in self.driver.window_handles[1:]:
            self.driver.switch_to.window(handle)
            self.driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])

    def start(self, user: str, profile: str, name: str = "") -> None:
        """Pick a profile and press Start; returns once the page has gone on."""
        self.open("/".join(["/hub/spawn", user, *([name] if name else [])]))
        self.choose(profile)
        self.find("#start-button").click()
        self.until(
            "an answer to Start",
            lambda: (
                self.path.startswith(("/hub/spawn-pending/", "/user/"))
                or self.all("#spawn-error")
            ),
            60,
        )


@contextlib.contextmanager
def chromium(directory: Path, home: str, *flags: str) -> Iterator[Browser]:
    """A headless Chromium with a profile of its own below ``directory``."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, *flags, f"--user-data-dir={directory / 'chromium'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        browser = Browser(driver, home)
        browser.size(*DESKTOP)
        yield browser
    finally:
        driver.quit()
