"""The documentation: its commands are run or composed, what it links to and quotes exists."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab.config.command_line import check_arguments
from deeplab.config.compose import composed
from deeplab.config.parsing import parse
from deeplab.config.schema.groups import SCRIPTS
from deeplab.data.layouts.classes_file import read_classes
from deeplab.training.validate_config import parse_run
from support.doc_commands import PAGES, blocks
from support.repository import ROOT
from support.scripts import CPU, SMALL, environment, run, run_folders

BLOCKS = [block for page in PAGES for block in blocks(page)]
NO_CONFIG = ("ablations", "benchmark", "runs", "convert")
"""Subcommands without ``--cfg job``."""

SHORT_TRAINING = (
    "stage.max_steps=2", "stage.batch_size=2", "backbone.pretrained=null", "trainer.num_workers=0",
    "logger=csv", *CPU,
)  # fmt: skip
SHORT_DATA = {
    "shapes": [s for s in SMALL if s.startswith("data.")],
    "shape_classes": ["data.num_train=8", "data.num_val=3"],
}


def few(override):
    """Return an override with one seed, and at most two of the values that a sweep goes over."""
    key, _, value = override.partition("=")
    if key == "num_seeds":
        return "num_seeds=1"
    plain = key != "-m" and not set("[]()") & set(value)
    return f"{key}={','.join(value.split(',')[:2])}" if plain and value else override


def shortened(script, overrides):
    """Return the overrides of a command with those that make it short."""
    typed = {o.partition("=")[0] for o in overrides}
    data = next((o.partition("=")[2] for o in overrides if o.startswith("data=")), "shapes")
    if typed & {"--help", "--keys"} or script not in ("train", "tune", "evaluate", "predict"):
        return overrides
    if script in ("evaluate", "predict"):
        return [*overrides, *CPU]
    if "resume" in typed:
        return [*overrides, "trainer.enable_progress_bar=false"]
    shorter = [*SHORT_TRAINING, *SHORT_DATA.get(data, ["data.crop_size=33"])]
    if script == "tune":
        shorter += ["num_steps=20"]
    kept = [few(o) for o in overrides if not o.startswith("stage.max_steps=")]
    return [
        *kept,
        *(s for s in shorter if s.partition("=")[0] not in {*typed} - {"stage.max_steps"}),
    ]


def script_lines(block):
    """Return the arguments of the lines that start a subcommand."""
    lines = [line.removeprefix("$ ") for line in block.commands]
    return [shlex.split(line)[1:] for line in lines if line.startswith("deeplab ")]


SWEEP_KEYS = ("ablation=", "preset=", "hydra/", "num_seeds=", "data_roots.")
"""Beginnings of the arguments that a single run does not have."""

COMPOSED = sorted(
    {
        tuple(arguments)
        for block in BLOCKS
        if block.language == "bash" and block.not_run
        for arguments in script_lines(block)
        if arguments[0] not in NO_CONFIG
        and "..." not in arguments
        and not any(a.startswith("hydra/sweeper") for a in arguments)
    }
)


@pytest.mark.parametrize("arguments", COMPOSED, ids=" ".join)
def test_a_command_that_cannot_be_run_can_be_composed(arguments):
    """Its keys and choices exist, and its values are allowed."""
    script, *overrides = [a for a in arguments if a != "-m"]
    single = [re.sub(r"(?<=\w),.*", "", a) if "[" not in a else a for a in overrides]
    single = [a for a in single if not a.startswith(SWEEP_KEYS)]
    with composed(script, check_arguments(single, script)) as config:
        if script == "train":
            parse_run(config)
        else:
            (schema,) = SCRIPTS[script]
            parse(schema, config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Provide a working folder with what the documentation's commands name."""
    cwd = tmp_path_factory.mktemp("docs")
    run("train", *SMALL, cwd=cwd)
    photos = sorted((cwd / "data/shapes").rglob("val_*.jpg"))
    (cwd / "photos").mkdir()
    for photo in photos:
        shutil.copy(photo, cwd / "photos")
    shutil.copy(photos[0], cwd / "photo.jpg")
    Image.open(photos[0]).save(cwd / "a.png")
    rng = np.random.default_rng(0)
    for name in "abcdef":
        image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        label = rng.integers(0, 3, (40, 50), dtype=np.uint8)
        for part, array in (("images", image), ("masks", label)):
            (cwd / "mine" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(cwd / "mine" / part / f"{name}.png")
        for split in ("train", "val"):
            (cwd / "cells" / split).mkdir(parents=True, exist_ok=True)
            np.savez(cwd / "cells" / split / f"{name}.npz", image=image, label=label % 2)
    frames = rng.integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(cwd / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return cwd, run_folders(cwd)[0]


def write_files(page, cwd):
    """Write the blocks of a page that begin with the name of their file, as in ``# mine.py``."""
    text = page.read_text()
    for name, content in re.findall(
        r"(?ms)^```\w+\n# (\S+\.(?:py|yaml))\b[^\n]*\n(.*?)^```$", text
    ):
        (cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (cwd / name).write_text(content)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, marks=pytest.mark.extras if block.extra else pytest.mark.processes)
        for block in BLOCKS
        if block.language == "bash" and not block.not_run and script_lines(block)
    ],
    ids=lambda block: block.name,
)
def test_commands_run(block, folder):
    cwd, trained = folder
    write_files(block.page, cwd)
    for script, *overrides in script_lines(block):
        if script == "demo":  # serves until it is stopped
            continue
        overrides = [
            o.replace("/path/to/mine", f"{cwd}/mine").replace("runs/NAME", str(trained))
            for o in overrides
        ]
        run(script, *shortened(script, overrides), cwd=cwd)


REPLACED = {
    "pretrained=True,": "",
    'device="cuda"': 'device="cpu"',
    "Trainer(max_epochs=20)": 'Trainer(max_steps=2, accelerator="cpu", logger=False)',
    '"stage.max_steps=5000"': f"*{SHORT_TRAINING!r}, 'data.crop_size=33'",
    '"stage.max_steps=2000"': f"*{SHORT_TRAINING!r}, 'data.crop_size=33'",
    "logits = model(images)": "import torch; logits = model(torch.zeros(1, 4, 65, 65))",
    'overrides=["split=test"]': "",
    'strategies=["os16", "os8-ms-flip"]': 'strategies=["os16", "os8-flip"]',
    '"xception"': '"mobilenetv2"',
    "Xception(65)": "Xception(41)",
    "resnet50_torchvision": "resnet_tiny",
    'create_model("resnet50"': 'create_model("resnet_tiny"',
    "num_workers=4": "num_workers=0",
}
"""Parts of the Python code that a test replaces: downloads, GPUs, long training runs."""


@pytest.mark.processes
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(b.language == "python" for b in blocks(page))],
    ids=lambda page: page.name,
)
def test_python_code_runs(page, folder):
    """The blocks of a page run one after another; those with the name of a file are its content."""
    cwd, trained = folder
    parts = [
        b.code for b in blocks(page) if b.language == "python" and not b.code.startswith("# my")
        and not b.extra
    ]  # fmt: skip
    if not parts:
        pytest.skip("only files, which the commands use")
    code = "import deeplab\n" + "\n".join(parts)
    if "NAME.pt2" in code:
        run("export", f"run={trained}", "format=torch_export", "output=exported", cwd=cwd)
        code = code.replace("NAME.pt2", f"exported/{trained.name}.pt2")
        code += "\nassert classes.shape == (1, *image.shape[:2]) and len(names) == 7"
    for text, other in REPLACED.items():
        code = code.replace(text, other)
    run_python(code.replace("/path/to/mine", f"{cwd}/mine").replace("runs/NAME", str(trained)), cwd)


@pytest.mark.extras
@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "python" and b.extra], ids=lambda block: block.name
)
def test_python_code_of_extras_runs(block, folder):
    """The blocks open an exported file."""
    cwd, trained = folder
    run("export", f"run={trained}", f"output={cwd}/exported", cwd=cwd)
    path = cwd / "exported" / f"{trained.name}.onnx"
    check = "\nassert classes.shape == (1, *image.shape[:2]), classes.shape"
    run_python(block.code.replace("NAME.onnx", str(path)) + check, cwd)


def run_python(code, cwd):
    """Run Python code as a user's script."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_quoted_messages_exist():
    """The page of error messages quotes what the program says."""
    source = re.sub(
        r'"\s*\n\s*f?"', "", "\n".join(p.read_text() for p in (ROOT / "src/deeplab").rglob("*.py"))
    )
    headings = re.findall(r"(?m)^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text())
    quoted = [text for heading in headings for text in re.findall("`(.+?)`", heading)]
    assert len(quoted) > 10
    assert [text for text in quoted if text not in source] == []


def test_example_of_a_classes_file_is_read(tmp_path):
    text = (ROOT / "docs/file_formats.md").read_text()
    (example,) = re.findall(r"(?ms)^```yaml\n(classes:.*?)^```$", text)
    (tmp_path / "classes.yaml").write_text(example)
    assert read_classes(tmp_path / "classes.yaml").ignored == ((0, 0, 255),)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_and_headings_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if "generated" in Path(name).parts:
            continue
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, target
