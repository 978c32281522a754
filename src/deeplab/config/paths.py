"""Locations of the project's folders and of its config files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The project's folder."""


CONF = ROOT / "conf"


TABLES = ("ablation", "preset")
"""Groups of files that say what a sweep runs, and hold no keys of a run."""
