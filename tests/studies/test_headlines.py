"""What each study found, to the digit shown: estimate, interval, and the same by nested selection.

These are the first findings of the pages before claims were written by hand.
"""

from pathlib import Path

import pytest

from sparsefield.studies import effect, read_record, study

RECORDS = Path(__file__).parents[2] / "results" / "records"
HEADLINES = [
    ("dt26-dnn", "q", "+1.4 [+0.6, +2.3] points", "+1.1 [−0.2, +2.4] points"),
    ("dt26-cnn", "q", "−8.2 [−10.4, −6.0] points", "−11.3 [−25.4, +2.8] points"),
    ("p24-dnn", "clip", "+55.8 [+34.8, +76.7] points", "+55.8 [+34.8, +76.7] points"),
    ("p24-cnn", "clip", "+13.3 [−16.7, +43.4] points", "+9.1 [−3.8, +22.0] points"),
    ("frontier", "pushed", "−4.4 [−4.9, −3.8] points", "−4.4 [−4.9, −3.8] points"),
    ("drift", "moved", "3.4 [2.9, 4.0] %", "3.4 [2.9, 4.0] %"),
    ("drift", "skip-moved", "+5.6 [+4.9, +6.3] points", "+5.6 [+4.9, +6.3] points"),
    ("clip-rule", "at-rule", "89.5 [86.4, 92.6] %", "89.5 [86.4, 92.6] %"),
    ("clip-rule", "next", "−1.0 [−4.6, +2.6] points", "−1.0 [−4.6, +2.6] points"),
    ("qstar-mechanism", "q", "−0.5 [−6.3, +5.3] points", "−3.0 [−12.7, +6.7] points"),
    ("rivals", "rival-no-skip", "+12.9 [+1.2, +24.5] points", "+12.7 [+0.9, +24.6] points"),
    ("rivals", "rival-with-skip", "+1.3 [+0.9, +1.7] points", "+1.4 [+0.8, +1.9] points"),
    ("rivals", "topk-95", "27.1 [22.5, 31.6] %", None),
    ("rivals", "topk-98", "85.6 [84.1, 87.2] %", None),
    ("depth-width", "skip-at-100", "+84.5 [+84.3, +84.7] points", "+84.5 [+84.4, +84.7] points"),
    ("depth-width", "skip-90-at-100", "+82.7 [+81.8, +83.6] points", None),
    ("depth-width", "as-if-shallow", "+2.7 [+2.1, +3.3] points", None),
    ("depth-width", "width", "+35.6 [+18.2, +52.9] points", None),
    ("depth-width", "rank-contraction", "+0.22 [−0.24, +0.69]", None),
    ("depth-width", "rank-noise", "+0.75 [+0.39, +0.93]", None),
]


@pytest.mark.parametrize(("name", "headline", "told", "nested"), HEADLINES)
def test_the_headline_is_the_same_to_the_digit(name, headline, told, nested):
    found = effect(study(name), read_record(RECORDS / f"{name}-small.json"), headline)
    assert found.text(found.found) == told
    assert nested is None or found.text(found.nested) == nested


def test_every_recorded_study_has_one():
    recorded = {path.stem.removesuffix("-small") for path in RECORDS.glob("*.json")}
    assert recorded == {name for name, *_ in HEADLINES}
