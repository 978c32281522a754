"""The page that segments dropped images, in a real browser."""

import json
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from deeplab.config.schema.scripts import DemoConfig
from deeplab.tools.demo.demo import Demo, _build_page, run_demo
from deeplab.utils.errors import UserError
from support.browser import needs_browser, open_browser, open_page
from support.networks import randomize_logits
from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a run whose predictions have several classes; return its folder."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    randomize_logits(folder)
    return folder


@pytest.fixture(scope="module")
def page(trained):
    """Serve the page; yield its address."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "src/demo.py"), f"run={trained}", "open_browser=false",
         "trainer.accelerator=cpu", "trainer.num_threads=1"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    printed = ""
    while "Ctrl-C" not in printed:
        line = server.stdout.readline()
        assert line, printed
        printed += line
    assert re.search("Machine: .* 1 thread$", printed, re.MULTILINE)
    yield re.search(r"http://127\.0\.0\.1:\d+/", printed)[0]
    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in rest
    assert "HTTP" not in printed + rest


@pytest.fixture
def browser(tmp_path):
    with open_browser(tmp_path / "profile") as opened:
        yield opened


def write_photo(path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC).save(path)


def wait_for(browser, condition):
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline, browser.find_element("tag name", "body").text
        time.sleep(0.2)
    return value


def shown(browser):
    """Return the address of the segmentation on the page."""
    images = browser.find_elements("css selector", "img")
    sources = [image.get_attribute("src") for image in images if image.size["width"] > 20]
    return sources[-1] if len(sources) == 2 else None


@pytest.mark.extras
@needs_browser
def test_an_image_is_dropped_changed_and_downloaded(trained, page, browser, tmp_path):
    pytest.importorskip("gradio")
    write_photo(tmp_path / "my photo.png")
    run("predict", f"run={trained}", f"input={tmp_path}/my photo.png", "trainer.accelerator=cpu",
        f"output={tmp_path}/out", cwd=tmp_path)  # fmt: skip
    expected = np.asarray(Image.open(tmp_path / "out/my photo.png"))

    open_page(browser, page)
    upload = wait_for(browser, lambda: browser.find_elements("css selector", "input[type=file]"))
    upload[0].send_keys(str(tmp_path / "my photo.png"))
    wait_for(browser, lambda: "80 x 60 pixels" in browser.find_element("tag name", "body").text)
    first = wait_for(browser, lambda: shown(browser))

    behavior = {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    browser.find_element("xpath", "//button[contains(., 'label map')]").click()
    mask = tmp_path / "downloads/my photo.png"
    wait_for(browser, mask.exists)
    assert np.array_equal(np.asarray(Image.open(mask)), expected)

    boxes = browser.find_elements("css selector", "input[type=checkbox]")
    assert len(boxes) == len(np.setdiff1d(expected, [0]))  # the classes found, but background
    boxes[0].click()
    wait_for(browser, lambda: shown(browser) not in (None, first))

    events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    requests = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    addresses = {e["params"]["request"]["url"] for e in requests}
    assert addresses
    assert all(a.startswith((page, "data:", "blob:")) for a in addresses)


@pytest.mark.extras
def test_a_file_that_is_no_image_is_refused_with_a_message(tmp_path):
    gradio = pytest.importorskip("gradio")
    (tmp_path / "notes.txt").write_text("no image")
    write_photo(tmp_path / "photo.png")
    model = SimpleNamespace(model=SimpleNamespace(output_stride=16))
    config = DemoConfig(run="runs/any")
    page = _build_page(Demo(model, config, tmp_path), config, "any")
    image = next(block for block in page.blocks.values() if isinstance(block, gradio.Image))

    def upload(name):
        return image.preprocess(image.data_model(path=str(tmp_path / name), orig_name=name))

    assert upload("photo.png")
    with pytest.raises(gradio.Error, match=r"notes\.txt: no image"):
        upload("notes.txt")


@pytest.mark.extras
def test_a_port_in_use_is_named(trained, page):
    port = page.rstrip("/").rpartition(":")[2]
    done = run(
        "demo", f"run={trained}", f"port={port}", "open_browser=false", cwd=trained, ok=False
    )
    assert done.returncode == 2
    assert f"port={port}: " in done.stderr
    assert "Set another port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.extras
def test_keys_of_trainings_are_refused(trained):
    pytest.importorskip("gradio")
    config = DemoConfig(run=str(trained), trainer={"accumulate_grad_batches": 2})
    with pytest.raises(UserError, match="accumulate_grad_batches: has an effect in training only"):
        run_demo(config)


@pytest.mark.skipif(find_spec("gradio") is not None, reason="gradio is installed here")
def test_a_missing_extra_is_named(tmp_path):
    done = run("demo", "run=runs/any", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "gradio is not installed. Run pip install -e" in done.stderr
    assert "[demo]" in done.stderr
