"""The committed pages of results are what the committed records say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sparsefield.pictures.publish import differences, read_records
from sparsefield.studies import effect, study, study_names

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "results", ROOT / "docs"


def test_the_documentation_says_what_the_records_say():
    assert differences(RESULTS, DOCS) == []


def test_every_record_is_of_a_study():
    assert set(read_records(RESULTS)) == set(study_names()) - {"demo"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_documentation_is_not_built_where_a_record_does_not_bear_it_out():
    """What the check says of a record turned round is tested with the pictures."""
    told = subprocess.run(
        ["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = told.stdout.splitlines()
    (check,) = (n for n, line in enumerate(lines) if "report results --docs docs --check" in line)
    (build,) = (n for n, line in enumerate(lines) if "sphinx" in line)
    assert check < build
    assert not lines[check].startswith("-")
    assert "||" not in lines[check]


def test_readme_has_the_lead_of_top_k_from_the_record():
    found = effect(study("rivals"), read_records(RESULTS)["rivals"], "topk-no-skip").found
    told = found.show(100).replace("-", "−")
    assert f"top-k leads by {told} points" in " ".join((ROOT / "README.md").read_text().split())
