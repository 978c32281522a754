"""Locations of the project's folders and of its config files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""Root folder of the project."""


CONF = ROOT / "conf"


TABLES = ("ablation", "preset")
"""Folders of ``conf/`` whose files describe sweeps and hold no keys of a run."""
