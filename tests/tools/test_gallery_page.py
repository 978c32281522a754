"""Galleries in a real browser, as files on a disk."""

import json
import time

import pytest

from support.browser import CHROMIUM, DRIVER, FLAGS
from support.galleries import IDS, NAMES, evaluated
from support.scripts import run

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on this machine"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('preset')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """The page of one evaluation and that of two."""
    folder = tmp_path_factory.mktemp("galleries")
    evaluated(folder, "first")
    evaluated(folder, "second", seed=1)
    run("gallery", "run=runs/first", "output=one", "enable_progress_bar=false", cwd=folder)
    two = ("compare_with=runs/second", "output=two")
    run("gallery", "run=runs/first", *two, "enable_progress_bar=false", cwd=folder)
    return {name: (folder / name / "index.html").as_uri() for name in ("one", "two")}


@pytest.fixture
def page(browser, addresses):
    """Opens a page anew, in a window of a width."""

    def opened(name="one", width=1280, scheme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)  # what came before
        browser.get(addresses[name])
        return browser

    return opened


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def key(name):
    from selenium.webdriver.common.keys import Keys

    return getattr(Keys, name)


def focused(browser):
    """The id of the image that has the focus and which of its pictures."""
    return browser.execute_script(
        "const link = document.activeElement, card = link.closest('.card');"
        "return card && [card.querySelector('.name').textContent, link.textContent]"
    )


def viewed(browser):
    """The id of the image that is shown large and which of its pictures; None if none is."""
    return browser.execute_script(
        "if (!viewer.open) return null;"
        "const pressed = viewer.querySelector('[aria-pressed=true] span');"
        "return [viewer.querySelector('.name').textContent, pressed.textContent]"
    )


def becomes(read, browser, expected):
    """For what a browser does in its own time."""
    end = time.monotonic() + 5
    while (found := read(browser)) != expected and time.monotonic() < end:
        time.sleep(0.02)
    assert found == expected


def all_loaded(browser):
    """Waits until every picture is there; the addresses of those that cannot be shown."""
    return browser.execute_async_script(
        "const done = arguments[0], pictures = [...document.querySelectorAll('.shot img')];"
        "document.querySelectorAll('details').forEach(each => { each.open = true });"
        "pictures.forEach(each => { each.loading = 'eager' });"
        "const settled = pictures.map(each => each.decode().catch(() => 0));"
        "Promise.all(settled).then(() => done("
        "pictures.filter(each => !each.naturalWidth).map(each => each.src)))"
    )


@pytest.mark.parametrize("name", ["one", "two"])
def test_everything_loads_and_nothing_leaves_the_disk(page, name):
    browser = page(name)
    assert all_loaded(browser) == []
    assert browser.execute_script("return document.querySelectorAll('.shot img').length") > 30
    press(browser, "j", key("ENTER"), "2", "3", "j", key("ESCAPE"))
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    asked = [e["params"]["request"]["url"] for e in requests]
    assert asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}


def test_large_pictures_are_there(page):
    browser = page()
    missing = browser.execute_async_script(
        "const done = arguments[0];"
        "const load = link => { const image = new Image(); image.src = link.href;"
        "  return image.decode().then(() => null, () => link.href) };"
        "Promise.all([...document.querySelectorAll('.shot')].map(load))"
        ".then(found => done(found.filter(Boolean)))"
    )
    assert missing == []


def test_keys_on_the_page(page):
    browser = page()
    press(browser, "j")
    assert focused(browser) == [IDS[0], "image"]
    press(browser, "j", key("ARROW_RIGHT"))
    assert focused(browser) == [IDS[2], "image"]
    press(browser, key("ARROW_DOWN"))
    assert focused(browser) == [IDS[3], "image"]
    press(browser, "k", key("ARROW_LEFT"), key("ARROW_UP"), "k", "k")
    assert focused(browser) == [IDS[0], "image"]  # and no further
    press(browser, key("TAB"), "j")
    assert focused(browser) == [IDS[1], "truth"]


def test_the_focus_can_be_seen(page):
    browser = page()
    press(browser, "j", "j", "j")
    style = browser.execute_script(
        "const link = document.activeElement, style = getComputedStyle(link);"
        "const place = link.getBoundingClientRect();"
        "return [style.outlineStyle, parseFloat(style.outlineWidth), place.top, place.bottom]"
    )
    assert style[0] == "solid"
    assert style[1] >= 2
    covered = browser.execute_script(
        "return document.querySelector('.top').getBoundingClientRect().bottom"
    )
    assert style[2] >= covered
    assert style[3] <= 900


@pytest.mark.parametrize("opening", ["ENTER", "SPACE"])
def test_keys_in_the_large_view(page, opening):
    browser = page()
    press(browser, "j", key(opening))
    assert viewed(browser) == [IDS[0], "image"]
    for typed, expected in (
        ("2", "truth"),
        ("4", "errors"),
        ("p", "prediction"),
        ("t", "truth"),
        ("e", "errors"),
        ("i", "image"),
        ("3", "prediction"),
        ("9", "prediction"),
    ):
        press(browser, typed)
        assert viewed(browser) == [IDS[0], expected]
    press(browser, "j", key("ARROW_RIGHT"), key("ARROW_DOWN"), "k")
    assert viewed(browser) == [IDS[2], "prediction"]
    press(browser, key("ESCAPE"))
    becomes(viewed, browser, None)
    becomes(focused, browser, [IDS[2], "prediction"])


def test_a_letter_goes_from_one_evaluation_to_the_other(page):
    browser = page("two")
    press(browser, "j", key("ENTER"), "p")
    name = viewed(browser)[0]
    assert viewed(browser) == [name, "prediction A"]
    press(browser, "p")
    assert viewed(browser) == [name, "prediction B"]
    press(browser, "p", "6")
    assert viewed(browser) == [name, "errors B"]


def test_the_mouse(page):
    browser = page()
    shots = browser.find_elements("css selector", ".shot")
    shots[5].click()
    assert viewed(browser) == [IDS[1], "truth"]
    browser.find_element("css selector", "[data-step='1']").click()
    assert viewed(browser) == [IDS[2], "truth"]
    browser.find_elements("css selector", ".kinds button")[3].click()
    assert viewed(browser) == [IDS[2], "errors"]
    shown = browser.execute_script("return viewer.querySelector('.stage img').src")
    assert shown.endswith("000002-errorA.jpg")
    browser.find_element("css selector", ".close").click()
    becomes(viewed, browser, None)


def test_legend_and_links_to_classes(page):
    browser = page()
    legend = browser.find_element("css selector", ".legend").text
    for name in (*NAMES, "ignored", "wrong"):
        assert name in legend
    part = browser.find_element("id", "class-1")
    assert not part.get_attribute("open")
    browser.find_element("css selector", "a[href='#class-1']").click()
    becomes(lambda _: bool(part.get_attribute("open")), browser, True)


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, name, width):
    browser = page(name, width)
    assert all_loaded(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.find_element("css selector", ".shot").click()
    over = browser.execute_script("return viewer.scrollWidth > viewer.clientWidth")
    assert not over


def test_pictures_arrive_without_moving_the_page(page):
    browser = page(width=400)
    shift = browser.execute_async_script(
        "const done = arguments[0];"
        "let sum = 0;"
        "const add = list => { for (const each of list.getEntries()) sum += each.value };"
        "new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });"
        "document.querySelectorAll('.shot img').forEach(each => { each.loading = 'eager' });"
        "setTimeout(() => done(sum), 500)"
    )
    assert shift < 0.01


def test_light_and_dark(page):
    grounds = {}
    for scheme in ("light", "dark"):
        browser = page(scheme=scheme)
        color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = sum(int(part) for part in color[4:-1].split(","))
    assert grounds["light"] > 600
    assert grounds["dark"] < 150
