"""The committed pages of results are what the committed records say."""

from pathlib import Path

import pytest

from sparsefield.studies import differences, read_record, study_names
from sparsefield.studies.publishing import read_records

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "results", ROOT / "docs"
RECORDS = sorted((RESULTS / "records").glob("*.json"))


def test_the_documentation_says_what_the_records_say():
    assert differences(RESULTS, DOCS) == []


@pytest.mark.parametrize("path", RECORDS, ids=[path.stem for path in RECORDS])
def test_a_changed_number_would_be_found(path, tmp_path):
    (tmp_path / "records").mkdir()
    changed = tmp_path / "records" / path.name
    changed.write_text(path.read_text().replace('"test_accuracy": 0.', '"test_accuracy": 0.0'))
    study = read_record(path).study
    assert any(f"/{study}.md: differs" in line for line in differences(tmp_path, DOCS))


def test_every_record_is_of_a_study():
    assert set(read_records(RESULTS)) <= set(study_names())
