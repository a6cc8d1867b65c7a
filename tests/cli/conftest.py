import sys

import pytest
import yaml

from sparsefield import studies

BASE = {"depth": 3, "width": 16, "sparsity": 0.7, "batch": 64, "steps": 10, "device": "cpu"}
PARTS = {"plane": {"base": {"data": "auto", **BASE}, "grid": {"q": [1, 4]}, "seeds": 2}}
EFFECTS = {"q": {"what": "from q* = 1 to 4", "from": {"q": 1}, "to": {"q": 4}}}
PAGE = "# Tiny\n\nA tiny answer.\n\n{figure}\n\n{table}\n\n{effects}\n\n{command}\n\n{made}\n"
STUDY = {"title": "Tiny", "question": "Why?", "source": "nowhere", "tuned": []}


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """A catalogue of one tiny study, tiny; its folder. MNIST is nowhere."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    _put(folder, "tiny", PARTS)
    monkeypatch.setattr(sys.modules[studies.Study.__module__], "_catalogue", lambda: folder)
    monkeypatch.delenv("SPARSEFIELD_DATA", raising=False)
    monkeypatch.setenv("SPARSEFIELD_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def study(catalogue):
    """Put a study of these parts, the same at both scales, into the catalogue."""

    def put(name, parts):
        _put(catalogue, name, parts)

    return put


def _put(folder, name, parts):
    (folder / name).mkdir(parents=True)
    content = {**STUDY, "small": parts, "paper": parts, "effects": EFFECTS}
    (folder / name / "study.yaml").write_text(yaml.safe_dump(content))
    (folder / name / "page.md").write_text(PAGE)


@pytest.fixture
def here(catalogue, tmp_path, monkeypatch):
    """The empty folder that the user stands in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def refused(capsys):
    """Call a command that must be refused; the one line that it says."""

    def call(main, *arguments):
        capsys.readouterr()
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("sparsefield: error: ")
        assert err.count("\n") == 1
        return err

    return call


@pytest.fixture
def held():
    """Every file below a folder, with its content and when it was written."""

    def files(folder):
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    return files
