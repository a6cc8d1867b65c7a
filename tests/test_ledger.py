"""The verification ledger: the committed page is complete, and a missing row fails the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from ledger import ROWS, Ledger, Row, declared

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/ledger.md"
PROJECT = {
    "conftest.py": """
import ledger
ledger.ROWS = {name: ledger.Row("f", "s", "m", "relative", 1e-9) for name in ("one", "two")}
pytest_plugins = ["ledger"]
""",
    "pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["."]\n',
}
ONE = "def test_one(ledger):\n    ledger.record('one', 1e-12, 3)\n"
TWO = "def test_two(ledger):\n    ledger.record('two', {error})\n"


def differences(page, rows):
    """What the page lacks, and what it has that is not declared."""
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    known = declared(rows)
    wrong = [name for name, left in known.items() if not lines.get(name, "").startswith(left)]
    return wrong, sorted(set(lines) - set(known))


def test_the_committed_page_has_every_declared_row():
    """Run ``make ledger`` and commit the page if this fails."""
    assert differences(PAGE.read_text(), ROWS) == ([], [])


def test_every_committed_error_is_within_its_bound():
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            *_, bound, worst, n = (cell.strip() for cell in line.strip("|").split("|"))
            assert float(worst) <= float(bound), line
            assert int(n) >= 1


def test_a_page_without_a_row_or_with_another_bound_is_caught():
    page, name = PAGE.read_text(), "chain_networks"
    lost = "\n".join(line for line in page.splitlines() if f"`{name}`" not in line)
    assert differences(lost, ROWS) == ([name], [])
    row = ROWS[name]
    weaker = Row(row.formula, row.source, row.against, row.unit, 2.0 * row.bound)
    assert differences(page, ROWS | {name: weaker}) == ([name], [])
    assert differences(page, {k: v for k, v in ROWS.items() if k != name}) == ([], [name])


def run(folder, test, *flags):
    """pytest on a small project that uses the plugin."""
    for name, text in (PROJECT | {"test_all.py": test}).items():
        (folder / name).write_text(text)
    (folder / "page.md").write_text("the last one")  # an argument that is a file must not mislead
    command = [sys.executable, "-m", "pytest", "-qpno:cacheprovider", "-pxdist", *flags]
    env = {"PYTHONPATH": str(ROOT / "tests"), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_a_complete_run_writes_the_page(tmp_path):
    done = run(tmp_path, ONE + TWO.format(error="-2e-10"), "--ledger", "page.md")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "page.md").read_text()
    assert "| `one` | f | s | m | relative | 1e-09 | 1e-12 | 3 |" in page
    assert "| `two` | f | s | m | relative | 1e-09 | 2e-10 | 1 |" in page


def test_several_processes_write_one_page(tmp_path):
    (tmp_path / "test_more.py").write_text(ONE.replace("1e-12", "3e-12"))
    both = ("-n", "2", "--dist", "loadfile", "--ledger", "page.md")
    done = run(tmp_path, ONE + TWO.format(error="-2e-10"), *both)
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "page.md").read_text()
    assert "| 1e-09 | 3e-12 | 6 |" in page
    assert "| 1e-09 | 2e-10 | 1 |" in page


@pytest.mark.parametrize("flags", [(), ("-n", "2"), ("--ledger", "page.md")])
def test_a_missing_row_fails_the_run(tmp_path, flags):
    done = run(tmp_path, ONE, *flags)
    assert done.returncode == 1
    assert "ledger: no test recorded two" in done.stdout
    assert (tmp_path / "page.md").read_text() == "the last one"


def test_a_selected_run_may_lack_rows(tmp_path):
    assert run(tmp_path, ONE, "-k", "one").returncode == 0


@pytest.mark.parametrize("error", ["1e-8", "float('nan')"])
def test_an_error_beyond_the_bound_fails_its_test(tmp_path, error):
    done = run(tmp_path, ONE + TWO.format(error=error))
    assert done.returncode == 1
    assert "two is off by" in done.stdout


def test_an_undeclared_row_is_refused():
    with pytest.raises(AssertionError, match="no row 'three'; declare it"):
        Ledger(ROWS).record("three", 0.0)
