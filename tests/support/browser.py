"""Pages of HTML: parsed, and opened from disk in Chromium without a window."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver here"
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_browser(profile: Path) -> Iterator:
    """Start Chromium with a profile of its own, logging messages and requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(DRIVER)) as browser:
        yield browser


def open_page(browser, url: str, *, width: int = 1280, scheme: str = "light") -> None:
    """Open a page in a window of a width, with a color scheme and with empty logs."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # discards earlier entries
    browser.get(url)


def check_logs(browser) -> None:
    """Check that the page had no error and requested nothing but files."""
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    schemes = {e["params"]["request"]["url"].partition(":")[0] for e in requests}
    assert "file" in schemes
    assert schemes <= {"file", "data"}


def brightness(browser) -> int:
    """Return the sum of the background's three colors."""
    color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(channel) for channel in color[4:-1].split(","))


class Page(HTMLParser):
    """Elements of a page, whose tags must all be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text, self.ids, self.urls, self.alts = [], "", [], [], []
        self.open_tags = []
        self.feed(text)
        assert not self.open_tags
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in {"meta", "link", "img", "br"}:  # they have no closing tag
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"{tag} has a duplicate attribute"
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.urls += [values[key] for key in ("href", "src") if key in values]
        self.alts += [values["alt"]] if "alt" in values else []

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.text += data

    def check_links(self, folder: Path) -> list[str]:
        """Check that links lead to elements of the page or to files; return those to files."""
        urls = [url for url in self.urls if not url.startswith("data:")]
        assert all(unquote(url[1:]) in self.ids for url in urls if url.startswith("#"))
        files = [url for url in urls if not url.startswith("#")]
        for url in files:
            assert not url.startswith(("http", "/", "file"))
            assert (folder / unquote(url)).exists(), url
        return files
