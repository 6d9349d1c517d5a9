"""What a person does in JupyterLab with kernels that are jobs."""

from __future__ import annotations

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from rigs.browser.browser import Browser

_SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
STRIP = f"{_SHOWN} .lb-Notice-strip"


class Lab:
    """JupyterLab in a browser, at one notebook at a time."""

    def __init__(self, web: Browser) -> None:
        self.web = web

    def open_launcher(self) -> None:
        """Show the launcher with an empty workspace, the file list folded away."""
        address = self.web.driver.current_url.split("?")[0].split("/lab")[0]
        self.web.driver.get(f"{address}/lab?reset")
        self.web.find(".jp-LauncherCard", 60)

    def reload(self) -> None:
        """Save, and load the page again; the notebook is open as before."""
        self.save()
        self.web.leave(self.web.path)
        self.web.find(f"{_SHOWN} .jp-CodeCell", 60)

    def save(self) -> None:
        """Save a notebook for the first time."""
        self.press_tool("save")
        self.web.find(".jp-Dialog .jp-mod-accept").click()  # its name is all right
        self.web.until(
            "the notebook is saved",
            lambda: not self.web.all(".lm-TabBar-tab.jp-mod-dirty"),
        )

    def new_notebook(self, words: str) -> None:
        """Press the launcher's card with these words."""

        def look() -> WebElement | None:
            cards = self.web.all('.jp-LauncherCard[data-category="Notebook"]')
            return next((card for card in cards if words in card.text), None)

        self.web.until(f"a card {words}", look, 60).click()

    def choose(self, **fields: str) -> None:
        """Fill in "Choose resources…" and start."""
        self.fill(**fields)
        self.web.find(".lb-Choose-dialog .jp-mod-accept:enabled").click()

    def fill(self, *, gpu: str = "", unit: str = "", **fields: str) -> None:
        """Fill in "Choose resources…": the GPU's row, the time's unit, and texts."""
        self.web.find(".lb-Choose")
        if gpu:
            self.web.find(f'.lb-Choose input[value="{gpu}"]').click()
        for name, value in fields.items():
            field = self.web.find(f".lb-Choose [name={name}]")
            field.send_keys(Keys.CONTROL + "a")
            field.send_keys(value)
        if unit:
            self.web.find(".lb-Choose [name=unit]").send_keys(unit)

    def wait_summary(self, words: str) -> None:
        """Wait until the dialog sums the choice up so."""
        self.web.wait_text(".lb-Choose-sum", words)

    def send(self, code: str) -> int:
        """Run code in the last cell; return how many cells came before it."""
        # Before JupyterLab has a session, running a cell would start a second one.
        self.web.find(".lb-Status", 60)
        self.web.find(f"{_SHOWN} .jp-CodeCell .cm-content", 60)
        cells = self.web.all(f"{_SHOWN} .jp-CodeCell")
        cells[-1].find_element("css selector", ".cm-content").click()
        keys = ActionChains(self.web.driver).send_keys(code)
        keys.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        return len(cells) - 1

    def output(self, cell: int, seconds: float = 60) -> str:
        """Return what a cell has put out, waiting for something."""

        def look() -> str:
            cells = self.web.all(f"{_SHOWN} .jp-CodeCell")
            found = cells[cell].find_elements("css selector", ".jp-OutputArea-output")
            return "\n".join(one.text for one in found).strip()

        return self.web.until(f"output of cell {cell}", look, seconds)

    def prompt(self, cell: int) -> str:
        """Return what stands before a cell: ``[*]:``, ``[3]:`` or ``[ ]:``."""
        found = self.web.all(f"{_SHOWN} .jp-CodeCell")[cell]
        return found.find_element("css selector", ".jp-InputPrompt").text

    def run(self, code: str) -> str:
        """Run code that prints something; return that."""
        return self.output(self.send(code))

    def wait_kernel(self, state: str, seconds: float = 60) -> None:
        """Wait until JupyterLab's own indicator says so: ``idle``, ``busy``."""
        css = f'{_SHOWN} .jp-Notebook-ExecutionIndicator[data-status="{state}"]'
        self.web.find(css, seconds)

    def press_tool(self, name: str) -> None:
        """Press a button of the notebook's toolbar."""
        self.web.find(
            f'{_SHOWN} .jp-NotebookPanel-toolbar [data-jp-item-name="{name}"] jp-button'
        ).click()

    def wait_strip(self, *words: str, seconds: float = 60) -> str:
        """Wait for what the notebook tells of its kernel."""
        return self.web.wait_text(STRIP, *words, seconds=seconds)

    def wait_no_strip(self, seconds: float = 60) -> None:
        """Wait until there is nothing to tell."""
        self.web.until(
            "no strip",
            lambda: not any(one.is_displayed() for one in self.web.all(STRIP)),
            seconds,
        )

    def press(self, action: str) -> None:
        """Press a button of that strip."""
        self.web.find(f'{STRIP} [data-action="{action}"]').click()

    def keep(self, entry: str, words: str) -> None:
        """Choose in "My jobs" for how long a kernel is kept."""
        Select(self.web.find(f"{entry} [name=keep]")).select_by_visible_text(words)

    def kept(self, entry: str, words: str) -> str:
        """Wait until "My jobs" says so of a kernel; return all that it says."""

        def look() -> str | None:
            select = Select(self.web.find(f"{entry} [name=keep]"))
            # What is chosen now is no choice of the list: it has no text to be seen.
            text = select.first_selected_option.get_attribute("textContent") or ""
            return text if words in text else None

        return self.web.until(f"{entry} is kept {words}", look)

    def open_jobs(self) -> None:
        """Show "My jobs"."""
        self.web.find('.jp-SideBar [data-id="landbridge-jobs"]').click()
        self.web.find(".lb-Jobs-entry")
