"""The spawn page: links, what is free, the keyboard, screen readers, phones."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from rigs.browser.browser import DESKTOP, PHONE, Browser
from rigs.checkout import TESTS

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


def test_a_link_fills_in_the_form_and_starts_nothing(web: Browser, site) -> None:
    web.open("/hub/spawn?opt-profile=gpu&opt-time_limit=30min")
    web.ready()
    assert web.text("h1") == "Start a server"
    assert web.find("input[name=profile]:checked").get_attribute("value") == "gpu"
    assert web.find("#gpu-time_limit").get_attribute("value") == "30min"
    assert "Nothing starts until you press Start" in web.text("#prefill-note")
    web.wait_text("#start-summary", "Should start now")
    assert not web.all("#spawn-error")
    assert not site.jobs("alice")

    web.find("#start-button").click()
    web.wait_path("/hub/spawn-pending/alice", "/user/alice/")
    assert "opt-" not in web.path
    assert "_xsrf" not in web.path
    shown = site.slurm.admin("squeue", "-h", "-u", "alice", "-o", "%l")
    assert shown.strip() == "30:00"


@pytest.mark.parametrize(
    "link",
    [
        "opt-profile=" + quote('"><img src=x onerror="window.harm=1">'),
        "opt-profile=gpu&opt-time_limit=" + quote('1h" onfocus="harm=1" autofocus x="'),
        "opt-profile=custom&opt-partition=" + quote("</select><script>harm=1</script>"),
        "opt-profile=custom&opt-memory=" + quote("1G\n#SBATCH --uid=0"),
        "opt-command=rm&opt-environment=x&opt-next=//evil.example&opt-prologue=x",
        "opt-profile=gpu&opt-gpus=" + "9" * 4000,
    ],
)
def test_a_hostile_link_is_inert(web: Browser, site, link: str) -> None:
    web.open(f"/hub/spawn?{link}")
    web.ready()
    web.until("a judgement", lambda: web.text("#start-summary") != "Checking…")
    assert not web.run("return window.harm")
    assert not web.all("#main img, #main script")
    assert not site.jobs("alice")


HELD = """
const real = window.fetch;
window.told = [];
window.held = [];
window.fetch = (...asked) => new Promise((answer) => {
  if (!String(asked[0]).endsWith("/preview")) return answer(real(...asked));
  held.push(() => answer(real(...asked)));
});
const summary = document.getElementById("start-summary");
const note = () => told.push(summary.textContent);
new MutationObserver(note).observe(summary, {childList: true});
"""


def test_what_is_said_of_a_choice_is_never_said_of_the_next(web: Browser, site) -> None:
    web.open("/hub/spawn/alice")
    web.choose("small")
    web.run(HELD)
    web.choose_only("gpu")
    web.until("a question about the GPU", lambda: web.run("return held.length") == 1)
    web.choose_only("small")
    # The late answer comes within the time in which typing may still go on.
    web.run("held.shift()()")
    web.until("a question about small", lambda: web.run("return held.length") == 1)
    assert set(web.run("return told")) == {"Checking…"}
    web.run("held.shift()()")
    web.wait_text("#start-summary", "Should start now")
    assert len(set(web.run("return told"))) == 2


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_start_stays_where_it_is_while_its_summary_changes(
    web: Browser, site, size: tuple[int, int]
) -> None:
    web.size(*size)
    web.open("/hub/spawn/alice")
    web.choose("gpu")
    place = (
        "document.getElementById('start-summary').textContent = arguments[0];"
        "const box = document.getElementById('start-button').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]"
    )
    before = web.run(place, "Checking…")
    lines = 2 if size == DESKTOP else 3
    words = "Waits for 2 of 4 GPUs. " * (lines * size[0] // 220)
    assert web.run(place, words) == before


def says(web: Browser, words: str) -> bool:
    """Whether the small profile's card says this, freshly asked."""
    web.run("landbridgeRefresh()")
    return words in web.text('[data-availability="small"]')


def test_what_is_free_follows_the_cluster(web: Browser, site) -> None:
    web.open("/hub/spawn/alice")
    web.choose("small")
    web.until("the small profile is free", lambda: says(web, "Free now"), 60)
    row = "return [...document.querySelectorAll('#cluster-table tbody tr')]" + (
        ".find(r => r.textContent.trim().startsWith('cpu')).children[2].textContent"
    )
    before = web.run(row)
    site.fill("n4")
    web.until("the small profile has to wait", lambda: says(web, "Waits"), 60)
    assert before.startswith("64")
    assert web.run(row).startswith("0 of 64")
    assert web.find('[data-availability="small"]').get_attribute("data-tone") == "wait"


def test_the_keyboard_alone_can_choose_and_start(web: Browser, site) -> None:
    web.open("/hub/spawn/alice")
    web.ready()

    def press(key: str) -> None:
        ActionChains(web.driver).send_keys(key).perform()

    def focused() -> str:
        return web.run(
            "const e = document.activeElement; return e.name || e.id || e.tagName"
        )

    for _ in range(15):
        press(Keys.TAB)
        if focused() == "profile":
            break
    assert focused() == "profile"
    chosen = []
    while "gpu" not in chosen:  # from whatever was chosen last time
        press(Keys.ARROW_DOWN)
        checked = web.find("input[name=profile]:checked")
        chosen.append(checked.get_attribute("value"))
        assert len(chosen) < 8, chosen
    order = []
    while focused() != "start-button":
        press(Keys.TAB)
        order.append(focused())
        assert len(order) < 10, order
    assert order[:2] == ["gpu_model", "time_limit"]
    web.wait_text("#start-summary", "Should start now")
    press(Keys.ENTER)
    web.wait_path("/hub/spawn-pending/alice", "/user/alice/")
    assert len(site.jobs("alice")) == 1


_NARROW = "return document.documentElement.scrollWidth - innerWidth"
_ODDITIES = (TESTS / "rigs/browser/readable.js").read_text()


@pytest.mark.parametrize(
    "theme", ["light", pytest.param("dark", marks=pytest.mark.long)]
)
def test_pages_can_be_read_by_all(web: Browser, site, theme: str) -> None:
    site.fill("n4")
    web.start("alice", "small")
    web.wait_text("#facts", "Place in line")
    for path, shown in (
        ("/hub/spawn-pending/alice", "#facts dd"),
        ("/hub/home", "article"),
        ("/hub/spawn/alice/second?opt-profile=custom", "#start-summary"),
        ("/hub/no-such-page", "h1"),
        ("/hub/login", "#login_submit"),
    ):
        if path == "/hub/login":
            web.driver.delete_all_cookies()
        web.open(path)
        web.theme(theme)
        web.driver.refresh()
        web.find(shown)
        assert web.run(_ODDITIES) == [], f"{path} {theme}"
        web.size(*PHONE)
        assert web.run(_NARROW) <= 0, f"{path} is wider than a phone"
        web.size(1280, 900)
    web.theme("light")
