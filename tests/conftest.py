"""How every test runs: on one thread a process, and the same examples every time."""

import os

from hypothesis import settings

# Read when torch and FAISS are first imported: tiny networks gain nothing from threads and lose much by waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests neither use nor fill the user's store; those that want one name it.
os.environ["SANITIZER_STORE"] = "none"

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
