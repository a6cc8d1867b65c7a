"""The committed pages of results are what the committed records say."""

from pathlib import Path

import pytest

from sparsefield.pictures.publish import differences, read_records
from sparsefield.studies import study_names

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "results", ROOT / "docs"


def test_the_documentation_says_what_the_records_say():
    assert differences(RESULTS, DOCS) == []


def test_every_record_is_of_a_study():
    assert set(read_records(RESULTS)) == set(study_names()) - {"demo"}
