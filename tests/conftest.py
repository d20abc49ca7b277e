"""What all tests share: one thread a process, and property tests that run the same examples every time."""

from __future__ import annotations

import os

from hypothesis import settings

# Before torch is imported: equal thread counts give equal bytes, and two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO")  # as the command line does: rows must not depend on their place

settings.register_profile("moorelens", deadline=None, derandomize=True)
settings.load_profile("moorelens")
