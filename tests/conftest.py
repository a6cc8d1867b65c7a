"""Settings that all tests share."""

import signal

import pytest
from hypothesis import settings

# the same examples on every machine and every run; no deadline, since machines are noisy
settings.register_profile("sparsefield", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("sparsefield")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard():
    """A shell starts background jobs with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
