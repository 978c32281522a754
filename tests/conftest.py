"""One thread a process, set before anything imports torch: tests run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
