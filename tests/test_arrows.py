"""Imports point one way: the rooms of the package, and the arrows between them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "sparsefield"

EVERY_ROOM = {
    *("theory", "watch", "nn", "monitor", "data", "engine", "energy", "train"),
    *("bench", "sweep", "studies", "pictures", "cli"),
}
ARROWS: dict[str, set[str]] = {
    "theory": set(),
    "watch": set(),
    "data": set(),
    "nn": {"theory", "watch"},
    "monitor": {"watch", "theory"},
    "engine": {"nn", "watch"},
    "energy": {"engine", "watch", "nn"},
    "train": {"data", "monitor", "engine", "watch", "nn", "theory"},
    "bench": {"engine", "energy", "watch", "nn"},
    "sweep": {"train"},
    "studies": {"sweep", "train", "data", "theory"},
    "pictures": {"studies", "sweep", "bench", "energy", "train", "theory"},
    "cli": EVERY_ROOM,
}
ROOT = "sparsefield"  # the names of __init__.py: for users, and for the command line
FREE = {"errors", "lazy"}  # root modules that every room may import
NEVER = {"theory": {"torch"}}
# Imported where they are used: each belongs to an extra, or is slow to import.
HEAVY = {
    *("lightning_fabric", "datasets", "huggingface_hub", "ray", "gradio", "matplotlib"),
    *("jinja2", "pyarrow", "sklearn", "PIL", "pandas", "tensorboard", "zeus"),
    *("onnx", "onnxscript", "onnxruntime", "openvino"),
}


def nodes(tree: ast.AST, *, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Yield each node, and whether importing the module passes over it."""
    for node in ast.iter_child_nodes(tree):
        later = deferred or passed_over(node)
        yield node, later
        yield from nodes(node, deferred=later)


def passed_over(node: ast.AST) -> bool:
    """Whether the inside of ``node`` runs in a call only, or for type checkers only."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imported(node: ast.AST, package: list[str]) -> list[str]:
    """Return the dotted names that a node imports; ``package`` is where it stands."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) + 1 - node.level] if node.level else []
        module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
        if module == ROOT:
            return [f"{ROOT}.{alias.name}" for alias in node.names]
        return [module]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def broken_rule(room: str, name: str, *, deferred: bool) -> str | None:
    """Return the rule that an import of ``name`` in ``room`` breaks, if it breaks one."""
    top, _, rest = name.partition(".")
    if top == ROOT:
        target = rest.split(".")[0]
        allowed = {room, *FREE, *ARROWS[room]} | ({""} if room == "cli" else set())
        if target not in allowed and not (room == "cli" and target not in EVERY_ROOM):
            return f"{room} may import only {', '.join(sorted(allowed))}"
    if top in NEVER.get(room, ()):
        return f"{room} may not import {top}"
    if top in HEAVY and not deferred:
        return f"{top} may be imported only inside a function"
    return None


def broken_arrows(package: Path) -> list[str]:
    """Return one line for each import below ``package`` that breaks a rule."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if len(inside.parts) == 1:  # the root gathers all names, lazily
            continue
        room = inside.parts[0]
        where = [ROOT, *inside.parts[:-1]]
        for node, deferred in nodes(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported(node, where):
                rule = broken_rule(room, name, deferred=deferred)
                if rule:
                    found.append(f"{inside}:{getattr(node, 'lineno', 0)}: {name}: {rule}")
    return found


def test_imports_point_one_way() -> None:
    assert broken_arrows(PACKAGE) == []


def test_every_room_is_drawn() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= EVERY_ROOM == set(ARROWS)


def plant(tmp_path: Path, room: str, source: str) -> list[str]:
    """Return what the check finds in a package of one module."""
    folder = tmp_path / ROOT / room / "deep"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text(source)
    return broken_arrows(tmp_path / ROOT)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("theory", "import sparsefield.nn"),
        ("theory", "from sparsefield.train.config import TrainConfig"),
        ("nn", "from ...monitor import Monitor"),
        ("nn", "from ... import monitor"),
        ("nn", "from sparsefield import solve"),
        ("data", "def f():\n    from sparsefield import train"),
        ("pictures", "import sparsefield.nn.networks"),
        ("monitor", "import importlib\nimportlib.import_module('sparsefield.train')"),
        ("theory", "def f():\n    import torch.nn"),
        ("theory", "from torch import Tensor"),
        ("train", "import pyarrow.parquet"),
        ("train", "try:\n    import matplotlib\nexcept ImportError:\n    pass"),
        ("data", "class A:\n    from PIL import Image"),
        ("nn", "if TYPE_CHECKING:\n    from sparsefield.train import TrainConfig"),
    ],
)
def test_a_bad_arrow_is_caught(tmp_path: Path, room: str, source: str) -> None:
    assert len(plant(tmp_path, room, source)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("nn", "from sparsefield.theory import solve\nimport torch"),
        ("nn", "from ...errors import InvalidInput\nfrom ..activations import CReLU"),
        ("theory", "from sparsefield import errors\nfrom sparsefield.theory import maps"),
        ("pictures", "import sparsefield.theory.maps"),
        ("cli", "import sparsefield\nfrom sparsefield import solve, studies"),
        ("train", "def f():\n    import pyarrow"),
        ("train", "if TYPE_CHECKING:\n    import pyarrow"),
    ],
)
def test_a_good_arrow_is_let_through(tmp_path: Path, room: str, source: str) -> None:
    assert plant(tmp_path, room, source) == []
