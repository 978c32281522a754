"""One thread a process, set before anything imports torch: tests run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Start the longest tests first: at the end no process waits for another one's."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
