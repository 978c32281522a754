"""Measurements against the obvious alternative, both in one run."""
