"""Names that are looked up in the network: none, unless W&B runs online.

Everything runs in a network of its own, in which also W&B's helper, a Go program, can only ask a
resolver that writes down the names.
"""

import subprocess
import sys

import pytest

from support.repository import ROOT
from support.scripts import SMALL, run, run_folders
from support.wandb_server import KEY

WANDB = [setting for setting in SMALL if not setting.startswith("logger")]  # it is the default
LOGGED_IN = {"WANDB_API_KEY": KEY}
UNSET = {"WANDB_MODE": None}
LOOK_UP = "import socket; socket.getaddrinfo('counted.example', 443)"


class Network:
    """A network of its own, for scripts."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "names"
        script = ROOT / "tests" / "support" / "look_ups.py"
        own = ("unshare", "--map-root-user", "--net", "--mount")
        self.prefix = (*own, sys.executable, str(script), str(self.file))

    def names(self):
        """Return the names that were looked up since the last call."""
        names = self.file.read_text().split() if self.file.exists() else []
        self.file.write_text("")
        return names

    def run(self, *arguments, variables, **options):
        """Run a script; return its result and the modules that it had imported."""
        modules = self.folder / "modules"
        variables = {"HOME": str(self.folder), "MODULES": str(modules), **variables}
        options = {"cwd": self.folder, "prefix": self.prefix, "variables": variables, **options}
        return run(*arguments, **options), set(modules.read_text().split())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = Network(tmp_path_factory.mktemp("network"))
    try:
        done = subprocess.run(
            [*network.prefix, sys.executable, "-c", LOOK_UP],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare on this machine")
    if "socket.gaierror" not in done.stderr:
        pytest.skip(f"a network of its own is not permitted: {done.stderr}")
    assert set(network.names()) == {"counted.example"}
    return network


def test_an_online_run_looks_up_the_server(network):
    """The names that W&B looks up are counted."""
    online = {
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": "https://wandb.example",
        "WANDB_INIT_TIMEOUT": "2",
        **LOGGED_IN,
    }
    done, _ = network.run("train", *WANDB, variables=online, ok=False)
    assert done.returncode == 2
    assert "W&B" in done.stderr
    assert "wandb.example" in network.names()


def test_offline_runs_look_up_nothing(network):
    """Nobody is logged in."""
    before = set(run_folders(network.folder))
    _, modules = network.run("train", *WANDB, "seed=1", variables=UNSET)
    assert "wandb" in modules
    (folder,) = set(run_folders(network.folder)) - before
    network.run("evaluate", f"run={folder}", "trainer.accelerator=cpu", variables=UNSET)
    assert len(list(folder.glob("wandb/offline-run-*"))) == 2
    assert network.names() == []


@pytest.mark.processes
def test_processes_find_each_other_without_looking_up_names(network):
    leftovers = {"MASTER_ADDR": "master.example", "SLURM_NODELIST": "node.example"}
    slurm = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}
    arguments = ("train", *SMALL, "name=two-processes", "trainer.devices=2")
    network.run(*arguments, variables={**leftovers, **slurm})
    assert network.names() == []


@pytest.mark.extras
def test_timm_does_not_import_wandb(network):
    pytest.importorskip("timm")
    arguments = ("train", *SMALL, "backbone=timm", "backbone.model=resnet18", "seed=4")
    _, modules = network.run(*arguments, variables=LOGGED_IN)
    assert "timm" in modules
    assert "wandb" not in modules
    assert network.names() == []


def test_other_loggers_and_scripts_do_not_import_wandb(network):
    augmented = "data.augmentations=[{HorizontalFlip:{p: 1}}]"
    strategies = "strategies=[single-scale,flip]"
    arguments = ("train", *SMALL, "name=csv-run", augmented, strategies)
    _, modules = network.run(*arguments, variables={**UNSET, **LOGGED_IN})
    assert "albumentations" in modules
    assert "wandb" not in modules
    (folder,) = (f for f in run_folders(network.folder) if "csv-run" in f.name)
    (image, *_) = sorted(folder.glob("*.png"))
    for arguments in (
        ("evaluate", f"run={folder}", "strategies=flip", "overwrite=true"),
        ("predict", f"run={folder}", f"input={image}"),
        ("compare", f"runs={folder}"),
    ):
        _, modules = network.run(*arguments, variables=LOGGED_IN)
        assert "wandb" not in modules
    assert network.names() == []
