"""Callbacks of a run: progress bar, stops and the figure of validation images."""
