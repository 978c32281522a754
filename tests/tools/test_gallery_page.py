"""Tests of gallery pages in a real browser, opened from disk."""

import time

import pytest

from support.browser import brightness, check_logs, needs_browser, open_browser, open_page
from support.galleries import IDS, NAMES, write_evaluation
from support.scripts import run

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """Return the URLs of a page of one evaluation and of a page that compares two."""
    folder = tmp_path_factory.mktemp("galleries")
    write_evaluation(folder, "first")
    write_evaluation(folder, "second", seed=1)
    run("gallery", "run=runs/first", "output=one", "enable_progress_bar=false", cwd=folder)
    two = ("compare_with=runs/second", "output=two")
    run("gallery", "run=runs/first", *two, "enable_progress_bar=false", cwd=folder)
    return {name: (folder / name / "index.html").as_uri() for name in ("one", "two")}


@pytest.fixture
def page(browser, urls):
    """Return a function that opens a page in a window of some width."""

    def open_gallery(name="one", **options):
        open_page(browser, urls[name], **options)
        return browser

    return open_gallery


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def key(name):
    from selenium.webdriver.common.keys import Keys

    return getattr(Keys, name)


def focused(browser):
    """Return the id of the image that has the focus, and the title of its focused view."""
    return browser.execute_script(
        "const link = document.activeElement, card = link.closest('.card');"
        "return card && [card.querySelector('.name').textContent, link.textContent]"
    )


def viewed(browser):
    """Return the id and the view of the image in the large view; None if it is closed."""
    return browser.execute_script(
        "if (!viewer.open) return null;"
        "const pressed = viewer.querySelector('[aria-pressed=true] span');"
        "return [viewer.querySelector('.name').textContent, pressed.textContent]"
    )


def wait_until(read, browser, expected):
    """Wait until ``read`` returns what is expected, because the browser works asynchronously."""
    deadline = time.monotonic() + 5
    while (value := read(browser)) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert value == expected


def load_all_images(browser):
    """Wait until all images are loaded and return the URLs of those that cannot be shown."""
    return browser.execute_async_script(
        "const done = arguments[0], images = [...document.querySelectorAll('.thumbnail img')];"
        "document.querySelectorAll('details').forEach(element => { element.open = true });"
        "images.forEach(image => { image.loading = 'eager' });"
        "const settled = images.map(image => image.decode().catch(() => 0));"
        "Promise.all(settled).then(() => done("
        "images.filter(image => !image.naturalWidth).map(image => image.src)))"
    )


@pytest.mark.parametrize("name", ["one", "two"])
def test_all_files_load_from_disk(page, name):
    browser = page(name)
    assert load_all_images(browser) == []
    assert browser.execute_script("return document.querySelectorAll('.thumbnail img').length") > 30
    press(browser, "j", key("ENTER"), "2", "3", "j", key("ESCAPE"))
    check_logs(browser)


def test_large_images_exist(page):
    browser = page()
    missing = browser.execute_async_script(
        "const done = arguments[0];"
        "const load = link => { const image = new Image(); image.src = link.href;"
        "  return image.decode().then(() => null, () => link.href) };"
        "Promise.all([...document.querySelectorAll('.thumbnail')].map(load))"
        ".then(urls => done(urls.filter(Boolean)))"
    )
    assert missing == []


def test_keyboard_on_the_page(page):
    browser = page()
    press(browser, "j")
    assert focused(browser) == [IDS[0], "image"]
    press(browser, "j", key("ARROW_RIGHT"))
    assert focused(browser) == [IDS[2], "image"]
    press(browser, key("ARROW_DOWN"))
    assert focused(browser) == [IDS[3], "image"]
    press(browser, "k", key("ARROW_LEFT"), key("ARROW_UP"), "k", "k")
    assert focused(browser) == [IDS[0], "image"]  # stops at the first image
    press(browser, key("TAB"), "j")
    assert focused(browser) == [IDS[1], "truth"]


def test_focused_thumbnail_is_visible(page):
    browser = page()
    press(browser, "j", "j", "j")
    style = browser.execute_script(
        "const link = document.activeElement, style = getComputedStyle(link);"
        "const box = link.getBoundingClientRect();"
        "return [style.outlineStyle, parseFloat(style.outlineWidth), box.top, box.bottom]"
    )
    assert style[0] == "solid"
    assert style[1] >= 2
    header_bottom = browser.execute_script(
        "return document.querySelector('.top').getBoundingClientRect().bottom"
    )
    assert style[2] >= header_bottom
    assert style[3] <= 900


@pytest.mark.parametrize("open_key", ["ENTER", "SPACE"])
def test_keyboard_in_the_large_view(page, open_key):
    browser = page()
    press(browser, "j", key(open_key))
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
    wait_until(viewed, browser, None)
    wait_until(focused, browser, [IDS[2], "prediction"])


def test_repeated_letter_switches_between_evaluations(page):
    browser = page("two")
    press(browser, "j", key("ENTER"), "p")
    name = viewed(browser)[0]
    assert viewed(browser) == [name, "prediction A"]
    press(browser, "p")
    assert viewed(browser) == [name, "prediction B"]
    press(browser, "p", "6")
    assert viewed(browser) == [name, "errors B"]


def test_mouse(page):
    browser = page()
    thumbnails = browser.find_elements("css selector", ".thumbnail")
    thumbnails[5].click()
    assert viewed(browser) == [IDS[1], "truth"]
    browser.find_element("css selector", "[data-step='1']").click()
    assert viewed(browser) == [IDS[2], "truth"]
    browser.find_elements("css selector", ".views button")[3].click()
    assert viewed(browser) == [IDS[2], "errors"]
    source = browser.execute_script("return viewer.querySelector('.large img').src")
    assert source.endswith("000002-errorA.jpg")
    browser.find_element("css selector", ".close").click()
    wait_until(viewed, browser, None)


def test_legend_and_links_to_classes(page):
    browser = page()
    legend = browser.find_element("css selector", ".legend").text
    for name in (*NAMES, "ignored", "wrong"):
        assert name in legend
    section = browser.find_element("id", "class-1")
    assert not section.get_attribute("open")
    browser.find_element("css selector", "a[href='#class-1']").click()
    wait_until(lambda _: bool(section.get_attribute("open")), browser, True)


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, name, width):
    browser = page(name, width=width)
    assert load_all_images(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.find_element("css selector", ".thumbnail").click()
    overflows = browser.execute_script("return viewer.scrollWidth > viewer.clientWidth")
    assert not overflows


def test_loading_images_causes_no_layout_shift(page):
    browser = page(width=400)
    shift = browser.execute_async_script(
        "const done = arguments[0];"
        "let sum = 0;"
        "const add = list => { for (const entry of list.getEntries()) sum += entry.value };"
        "new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });"
        "document.querySelectorAll('.thumbnail img').forEach(image => { image.loading = 'eager' });"
        "setTimeout(() => done(sum), 500)"
    )
    assert shift < 0.01


def test_light_and_dark(page):
    assert brightness(page(scheme="light")) > 600
    assert brightness(page(scheme="dark")) < 150
