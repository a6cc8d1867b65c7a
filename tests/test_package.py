"""The package as a user first meets it: light to import, its names in one place."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sparsefield

ROOT = Path(__file__).resolve().parents[1]
LOADED = "import json, sys; {}; print(json.dumps(sorted(sys.modules)))"


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that are loaded after ``statement`` in a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED.format(statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_import_is_light() -> None:
    loaded = modules_after("import sparsefield")
    assert "sparsefield" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "scipy", "pydantic", "rich", "datasets"})


def test_theory_needs_no_torch() -> None:
    loaded = modules_after("import sparsefield; sparsefield.solve")
    assert "numpy" in loaded
    assert loaded.isdisjoint({"torch", "pydantic", "datasets", "matplotlib"})


def test_a_report_needs_no_torch() -> None:
    loaded = modules_after("import sparsefield.pictures")
    assert "pydantic" in loaded
    assert "torch" not in loaded


def test_the_check_for_torch_can_fail() -> None:
    assert "torch" in modules_after("import sparsefield; sparsefield.CReLU")


@pytest.mark.parametrize("name", sparsefield.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(sparsefield, name) is not None
    assert name in dir(sparsefield)


@pytest.mark.parametrize("name", sorted(set(sparsefield.__all__) - {"__version__"}))
def test_public_names_are_documented(name: str) -> None:
    assert (getattr(sparsefield, name).__doc__ or "").strip()


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sovle'"):
        sparsefield.sovle  # noqa: B018


def test_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sparsefield.__version__ == project["version"]


def test_package_is_typed() -> None:
    assert (ROOT / "src" / "sparsefield" / "py.typed").exists()
