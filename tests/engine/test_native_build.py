"""That a machine with a compiler has the kernels; test_fallback has the engine without them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sparsefield.engine import native

EXPECTED = os.environ.get("SPARSEFIELD_EXPECT_NATIVE") == "1"
MODULE = "sparsefield.engine._native"


def expect_kernels() -> ModuleType:
    """Return the kernels; fail where the package was built without them."""
    native.kernels.cache_clear()
    module = native.kernels()
    assert module is not None, "the kernels were not built: see the output of pip install -v ."
    return module


@pytest.mark.skipif(not EXPECTED, reason="SPARSEFIELD_EXPECT_NATIVE=1 is set where they must be")
def test_the_kernels_were_built() -> None:
    assert expect_kernels().instruction_sets()[-1] == "baseline"


@pytest.fixture
def _without_kernels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, MODULE, None)  # import raises ImportError
    native.kernels.cache_clear()
    yield
    native.kernels.cache_clear()


@pytest.mark.usefixtures("_without_kernels")
def test_the_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="were not built"):
        expect_kernels()


def too_long(lines: list[str]) -> list[str]:
    return [line for line in lines if len(line) > 110]


def test_lines_of_the_kernels_fit() -> None:
    sources = [p for p in (Path(__file__).parents[2] / "csrc").rglob("*.*") if p.suffix != ".txt"]
    assert len(sources) > 10
    found = {path.name: too_long(path.read_text().splitlines()) for path in sources}
    assert not {name: lines for name, lines in found.items() if lines}


def test_a_line_that_does_not_is_seen() -> None:
    assert too_long(["/" * 110, "/" * 111]) == ["/" * 111]
