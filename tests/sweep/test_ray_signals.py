"""Ray answers SIGTERM by a handler of its own; here Ray is a stand-in that does no more."""

import signal
from types import SimpleNamespace

from sparsefield.sweep.ray_engine import _connected


def rude(**_):
    signal.signal(signal.SIGTERM, lambda *_: None)


RAY = SimpleNamespace(
    is_initialized=lambda: False,
    init=rude,
    shutdown=lambda: None,
    exceptions=SimpleNamespace(RayError=RuntimeError),
)


def test_the_callers_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    try:
        rude()
        assert signal.getsignal(signal.SIGTERM) != before  # the stand-in does take it
        signal.signal(signal.SIGTERM, before)
        with _connected(RAY, None):
            assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)
