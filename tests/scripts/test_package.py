"""The package as users install it: a wheel alone, in an empty folder."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

import deeplab
from deeplab.cli import COMMANDS
from support.repository import ROOT
from support.scripts import SMALL, environment, run_folders

PARTS = ("conf", "src", "LICENSE", "README.md", "pyproject.toml", "setup.py")

pytestmark = pytest.mark.processes


def call(*command, cwd, ok=True, **variables):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert not ok or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def build_wheel(source, folder):
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    call("-m", "pip", "wheel", *options, "--wheel-dir", folder, source, cwd=folder.parent)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a copy of the sources, since a build leaves files there."""
    folder = tmp_path_factory.mktemp("source")
    for name in PARTS:
        path, target = ROOT / name, folder / name
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("*.egg-info", "*.pyc"))
        else:
            shutil.copy(path, target)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """Return the folder of an installed wheel."""
    cwd = tmp_path_factory.mktemp("installed")
    call("-m", "pip", "install", "-q", "--no-deps", "--target", cwd / "site", wheel, cwd=cwd)
    return cwd / "site"


def test_the_sdist_builds_the_same_wheel(source, wheel, tmp_path):
    call("setup.py", "-q", "sdist", "--dist-dir", tmp_path, cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    files = [
        {entry.filename: entry.CRC for entry in ZipFile(path).infolist()}
        for path in (wheel, build_wheel(archive, tmp_path / "again"))
    ]
    assert files[0] == files[1]
    conf = {f"deeplab/{path.relative_to(ROOT)}" for path in ROOT.glob("conf/**/*.yaml")}
    code = {str(path.relative_to(ROOT / "src")) for path in ROOT.glob("src/*/**/*.py")}
    packed = {name for name in files[0] if ".dist-info" not in name}
    assert {name for name in packed if name.endswith((".py", ".yaml"))} == conf | code


@pytest.mark.long
def test_the_command_works_in_an_empty_folder(site, tmp_path):
    """Also its further processes: of a run on two devices, and of a launcher."""
    cwd = tmp_path / "work"
    cwd.mkdir()

    def run(*arguments, ok=True, command=(site / "bin" / "deeplab",), cwd=cwd):
        return call(*command, *arguments, cwd=cwd, ok=ok, PYTHONPATH=str(site))

    assert run("--version").stdout == f"deeplabv3plus {deeplab.__version__} ({site}/deeplab)\n"
    listed = [line.split()[1] for line in run("--help").stdout.splitlines() if line[:2] == "  "]
    assert listed == [*COMMANDS]
    refused = run("train", *SMALL, cwd="/sys", ok=False)  # not even root can write there
    assert refused.stderr.startswith("Error: runs_dir=runs: /sys cannot be written")
    assert refused.stderr.count("\n") == 1
    mistake = run("trian", ok=False)
    assert mistake.returncode == 2
    assert "Error: trian: no such subcommand. Did you mean train?" in mistake.stderr

    run("train", *SMALL, "trainer.devices=2")
    (folder,) = run_folders(cwd)
    assert '"commit": null' in (folder / "run.json").read_text()
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    module = ("-P", "-m", "deeplab")
    run("train", "-m", *SMALL, *launcher, "seed=1", command=module)
    assert len(list((cwd / "runs").glob("shapes-*"))) == 2
    Image.new("RGB", (40, 30)).save(cwd / "photo.jpg")
    run("predict", f"run={folder}", "input=photo.jpg", "trainer.accelerator=cpu")
    assert (cwd / "predictions/photo.png").is_file()


def test_two_versions_are_named(site, tmp_path):
    site = shutil.copytree(site, tmp_path / "site")

    def run(*arguments, ok=True):
        variables = {"PYTHONPATH": f"{site}:{tmp_path / 'other'}"}
        return call("-P", "-m", "deeplab", "cost", *arguments, cwd=tmp_path, ok=ok, **variables)

    (own,) = site.glob("*.dist-info")
    assert not run("--help").stderr
    copy_of_version(own, tmp_path / "other", "deeplabv3plus", "0.0.1")
    note = run("--help").stderr
    assert note.startswith(f"Note: this is the package in {site}/deeplab; 0.0.1 in {tmp_path}/")
    copy_of_version(own, site, "deeplab", "7.0")
    mixed = run("--help", ok=False)
    assert mixed.returncode == 2
    assert mixed.stderr.count("\n") == 1
    assert "deeplab 7.0, which is also installed, are mixed in this folder" in mixed.stderr


def copy_of_version(metadata: Path, folder: Path, name: str, version: str) -> None:
    copy = folder / f"{name}-{version}.dist-info"
    shutil.copytree(metadata, copy)
    text = (copy / "METADATA").read_text()
    text = text.replace("Name: deeplabv3plus", f"Name: {name}")
    text = text.replace(f"Version: {deeplab.__version__}", f"Version: {version}")
    (copy / "METADATA").write_text(text)
