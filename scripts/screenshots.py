"""Make the pictures of README and docs from a running gateway.

::

    python scripts/screenshots.py [NAME...]      # as root, in the tests' environment

Starts a private Slurm and a gateway, drives Chromium through them as alice and bob,
and writes ``docs/images/NAME.png``, and the same pages in the dark and as a phone
shows them into ``--all DIR`` if that is given, to be looked at. Needs Pillow, which
makes the files small.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from PIL import Image

from rigs.browser.browser import DESKTOP, PHONE, Browser, chromium
from rigs.browser.gateway import gateway
from rigs.browser.storage_page import StoragePage
from rigs.browser.stored import Stored
from rigs.checkout import CHECKOUT
from rigs.hub.process import PASSWORD
from rigs.lab.preview_files import all_files
from rigs.slurm.cluster import Cluster

IMAGES = CHECKOUT / "docs" / "images"
# Only bob's group sees it: its start fails, for the picture of that.
_BARE = """
  bare:
    title: My environment
    description: What you installed yourself.
    groups: [bob]
    resources: {cpus: 1, memory: 2 GB, time_limit: 1h}
    prologue: |
      sleep 15  # a start that fails at once is told on the form
      export LANDBRIDGE_PYTHON=/usr/bin/python3
"""
_TEST_PARTITIONS = ("broken", "closed", "drain", "low", "kill", "high", "staff")
# The pictures that README and docs show; the others are only to be looked at.
_SHOWN = {
    *("sign-in", "spawn", "pending", "lab", "home", "failure"),
    *("storage", "storage-lab", "storage-preview", "storage-share"),
    *("storage-uploads", "storage-drive"),
}
_FILES = {
    "cities.csv": b"city,height\nOslo,23\nLima,154\nQuito,2850\n",
    "model.safetensors": bytes(14_200_000),
    "notes.md": b"# Notes\n",
    "run-7/loss.csv": b"step,loss\n1,0.9\n",
    "run-8/loss.csv": b"step,loss\n1,0.7\n",
}
_CELL = "import os; os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_JOB_ID']"


class Camera:
    """Takes each page once for the docs and, on demand, in every other look."""

    def __init__(self, browser, names, everything):
        """Write pictures called ``names`` (none: those that docs show)."""
        self.browser = browser
        self.names = names
        self.everything = everything

    def take(self, name, height=DESKTOP[1]):
        """Take the page that is shown, once it stands still."""
        width = DESKTOP[0]
        self.browser.size(width, height)
        if name in (self.names or _SHOWN):
            self._write(IMAGES / f"{name}.png")
        if self.everything is not None:
            for look, size in (("desktop", (width, height)), ("phone", PHONE)):
                for theme in ("light", "dark"):
                    self.browser.size(*size)
                    self.browser.theme(theme)
                    self._write(
                        self.everything / f"{name}-{look}-{theme}.png",
                        whole=look == "phone",
                    )
            self.browser.size(width, height)
            self.browser.theme("light")

    def _write(self, path, *, whole=False):
        self.browser.settle()
        if whole:
            tall = self.browser.run("return document.documentElement.scrollHeight")
            self.browser.size(PHONE[0], max(PHONE[1], tall))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.browser.driver.save_screenshot(str(path))
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        print(f"{path} {path.stat().st_size // 1024} kB", flush=True)


def free_pages(browser: Browser, camera: Camera) -> None:
    """Pages before anything runs."""
    browser.open("/hub/login")
    camera.take("sign-in", 560)
    browser.sign_in("alice", PASSWORD)
    browser.open("/hub/home")
    browser.find("#servers .lb-panel")
    camera.take("home-empty", 560)
    browser.open("/hub/spawn/alice")
    browser.choose("gpu")
    camera.take("spawn", 860)
    browser.choose("custom")
    camera.take("spawn-custom", 1150)
    browser.set_field("custom-time_limit", "9d")
    browser.find("[aria-invalid]")
    camera.take("spawn-refused", 1150)


def waiting_pages(browser: Browser, camera: Camera, rig: Cluster) -> None:
    """A start that waits, since the GPUs are taken; it runs afterwards."""
    wanted = "-N3 -p gpu -A staff --exclusive -t 45"
    blocker = rig.submit("sleep 3000", *wanted.split(), user="alice")
    rig.wait_state(blocker, "RUNNING")
    browser.open("/hub/spawn/alice")
    browser.choose("gpu")
    browser.until("the GPUs are seen taken", lambda: waits(browser), 60)
    camera.take("spawn-busy", 860)
    browser.find("#start-button").click()
    browser.wait_path("/hub/spawn-pending/alice")
    browser.wait_text("#facts", "Place in line")
    camera.take("pending", 600)
    browser.open("/hub/home")
    browser.find("article")
    camera.take("home-pending", 560)
    browser.open("/hub/spawn-pending/alice")
    rig.admin("scancel", str(blocker))


def waits(browser: Browser) -> bool:
    """Whether the spawn page says that a GPU has to be waited for."""
    browser.run("landbridgeRefresh()")
    return "Waits" in browser.text('[data-availability="gpu"]')


def running_pages(browser: Browser, camera: Camera) -> None:
    """JupyterLab, and the home page with a server that runs."""
    browser.wait_path("/user/alice/lab", seconds=90)
    browser.run_cell(_CELL)
    browser.find("#landbridge-time-left")
    camera.take("lab", 640)
    browser.leave("/hub/home")
    browser.find('article[data-state="ready"]')
    camera.take("home", 560)


def storage_pages(browser: Browser, camera: Camera, hub, directory: Path) -> None:
    """The storage page with a few objects of alice's."""
    hub.add_user("bob")  # somebody to share with
    stored = Stored(hub, "alice")
    stored.put(_FILES | {"run-8/readings.parquet": all_files()["zstd.parquet"]})
    stored.close()
    page = StoragePage(browser)
    page.open()
    page.wait_rows("cities.csv", "run-8/")
    browser.find(".lb-Storage-fill")
    given = directory / "results.parquet"
    given.write_bytes(bytes(9_000_000))
    page.give("files", given)
    page.wait_rows(given.name, seconds=60)
    page.choose("cities.csv")
    camera.take("storage", 620)
    large = directory / "images.zarr.zip"
    large.write_bytes(bytes(120_000_000))
    with page.slow_line():
        page.give("files", large)
        page.show("uploads")
        browser.until("some has arrived", lambda: page.sent() > 20_000_000)
        camera.take("storage-uploads", 420)
        page.press(f"Remove {large.name}")
    page.show("browse")
    page.choose("cities.csv")
    page.press("Details")
    camera.take("storage-details", 760)
    page.answer("Close")
    page.choose("run-7/")
    page.press("Share")
    page.answer("Share", name="bob")
    browser.wait_text("dialog[open] .lb-Kit-lines", "bob may read")
    camera.take("storage-share", 620)
    page.answer("Close")
    for view in ("shares", "history"):
        page.show(view)
        camera.take(f"storage-{view}", 620)
    page.open("alice%2Frun-8%2F")
    page.choose("readings.parquet")
    page.press("Preview")
    frame = browser.find(page.css(".lb-Storage-frame iframe"))
    browser.driver.switch_to.frame(frame)
    browser.size(DESKTOP[0], 900)
    browser.run("arguments[0].scrollIntoView()", browser.find("table"))
    browser.driver.switch_to.default_content()
    camera.take("storage-preview", 900)
    page.press("Close the preview")


def storage_sidebar(browser: Browser, camera: Camera) -> None:
    """The same panel in JupyterLab."""
    browser.open("/user/alice/lab?reset")
    browser.find(".jp-LauncherCard", 60)
    browser.find('[data-id="landbridge-storage"]').click()
    page = StoragePage(browser, "#landbridge-storage")
    page.wait_rows("cities.csv")
    page.choose("cities.csv")
    camera.take("storage-lab", 700)


def storage_drive(browser: Browser, camera: Camera) -> None:
    """A bucket in the file browser, and code for an object in a notebook."""
    browser.find('.jp-LauncherCard[data-category="Notebook"]').click()
    browser.wait_text("#jp-main-statusbar", "| Idle", seconds=60)
    page = StoragePage(browser, "#landbridge-storage")
    page.choose("cities.csv")
    page.press("Insert code")
    browser.wait_text(".jp-Notebook .jp-Cell .cm-content", "read_csv")
    page.press("Open in the file browser")
    browser.wait_text("#landbridge-buckets .jp-DirListing-content", "cities.csv")
    camera.take("storage-drive", 560)
    browser.leave("/user/alice/lab")
    browser.run_cell("from landbridge import storage; storage.credentials().expires")
    browser.find('[data-id="landbridge-storage"]').click()
    page.show("shares")
    browser.wait_text("#landbridge-storage", "The kernel of")
    camera.take("storage-keys", 700)


def failed_pages(browser: Browser, camera: Camera) -> None:
    """A start that fails."""
    StoragePage(browser).be("bob")  # alice's server would know her by its own cookie
    browser.start("bob", "bare")
    browser.find("#failure", 60)
    browser.find("#log li")
    camera.take("failure", 900)
    browser.open("/hub/home")
    browser.find('article[data-state="failed"]')
    camera.take("home-failed", 700)
    browser.open("/user/alice/lab")
    browser.find("h1")
    camera.take("forbidden", 560)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", type=Path, metavar="DIR")
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="lbshots-", dir="/var/tmp"))
    directory.chmod(0o755)
    rig = Cluster(directory / "s", cpus=16)
    profiles = (CHECKOUT / "config" / "profiles.yaml").read_text() + _BARE
    try:
        rig.up()
        for partition in _TEST_PARTITIONS:
            rig.admin("scontrol", "delete", f"PartitionName={partition}")
        with (
            gateway(directory, rig.munge_socket, rig.environment, profiles) as hub,
            chromium(directory, f"http://127.0.0.1:{hub.port}") as browser,
        ):
            camera = Camera(browser, chosen.names, chosen.all)
            free_pages(browser, camera)
            waiting_pages(browser, camera, rig)
            running_pages(browser, camera)
            storage_pages(browser, camera, hub, directory)
            storage_sidebar(browser, camera)
            storage_drive(browser, camera)
            browser.leave("/hub/home")
            failed_pages(browser, camera)
    finally:
        rig.down()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
