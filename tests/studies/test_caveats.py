"""What a page says against its findings: choice on the seeds reported, edges, shares of runs."""

import math

import pytest

from sparsefield.studies import page, read
from sparsefield.studies.arms import arms
from sparsefield.studies.caveats import caveats, nested_choice, otherwise
from sparsefield.studies.page import table_text
from sparsefield.studies.reading import Finding, arm_table
from sparsefield.sweep.statistics import NONE, Interval

RATES = (1e-3, 3e-3, 1e-2)
ARMS = [{"q": q, "sparsity": 0.8, "lr": lr} for q in (1.0, 4.0) for lr in RATES]


def peak(at, *, q=0.0, lucky=0.0):
    """Best at one rate; q adds, and at q* = 4 a rate away from it is lucky at one seed."""

    def measure(config, seed):
        large = config["q"] > 1
        accuracy = 0.7 + q * large - abs(math.log(config["lr"] / at)) / 20
        luck = lucky * (seed == 0 and large and config["lr"] == RATES[0])
        return {"test_accuracy": accuracy + luck + 0.003 * math.sin(5 * seed + large)}

    return measure


def told(record):
    return caveats(record, read(record))


def page_of(record):
    return page([(record, read(record))], {"small": "figure.svg"})


@pytest.mark.parametrize(
    ("at", "ends"), [(RATES[0], (2, 0)), (RATES[1], (0, 0)), (RATES[2], (0, 2))]
)
def test_edges_are_counted(invented, at, ends):
    record = invented(ARMS, peak(at))
    low, high = ends
    said = f"chosen is the lowest tried in {low} and the highest in {high} of 2 arms with several"
    assert any(said in sentence for sentence in told(record))
    text = page_of(record)
    assert text.count(" (lowest) |") == low
    assert text.count(" (highest) |") == high
    assert ("of the values tried for this arm." in text) is bool(low + high)


def test_an_arm_with_one_rate_chose_nothing(invented):
    record = invented([*ARMS, {"q": 16.0, "sparsity": 0.8, "lr": 1e-2}], peak(RATES[1]))
    assert any(
        "of 2 arms with several to choose from; 1 more had one only." in s for s in told(record)
    )
    (table,) = read(record).tables
    assert table.columns[2] == "learning rate, chosen"
    assert [row[2] for row in table.rows] == ["0.003", "0.003", "0.01 (only one)"]
    assert table_text(table).endswith("|\n\n(only one): one value was tried for this arm.")
    alone = invented(ARMS[::3], peak(RATES[1]))  # the twin
    assert "No arm had several learning rates to choose from." in told(alone)
    (table,) = read(alone).tables
    assert (table.columns[2], table.note) == ("learning rate", "")
    assert "In each arm lr is chosen" not in page_of(alone)
    assert "In each arm lr is chosen" in page_of(record)


def test_two_rates_are_both_ends(invented):
    pairs = [arm for arm in ARMS if arm["lr"] != RATES[1]]
    assert any(
        "; all had two, of which either is an end." in s for s in told(invented(pairs, peak(0.01)))
    )


def test_a_field_of_a_table_that_was_chosen_says_so(invented):
    record = invented(ARMS, peak(RATES[2]))
    table = arm_table("", arms(record), ("q", "lr"))
    assert table.columns[:2] == ("q*", "learning rate, chosen")
    assert table.rows[0][:2] == ("1", "0.01 (highest)")


def test_the_headline_is_told_by_nested_selection(invented):
    """One lucky run makes q* = 4 look better: the seed of the run does not choose for itself."""
    lucky = invented(ARMS, peak(RATES[1], lucky=0.5), seeds=5)
    first = read(lucky).findings[0]
    assert first.interval.estimate > 0.03
    assert first.nested.estimate < 0.0
    real = read(invented(ARMS, peak(RATES[1], q=0.1), seeds=5)).findings[0]
    assert nested_choice(real).endswith("the difference of the first finding is the same.")


def test_how_nested_selection_reads():
    plain = Interval(0.02, 0.01, 0.03, 4)
    assert nested_choice(Finding("", plain)) == ""
    assert nested_choice(Finding("", plain, NONE)).endswith("is not known: that takes more seeds.")
    other = Interval(0.01, -0.01, 0.03, 4)
    assert nested_choice(Finding("", plain, other)).endswith(
        "is +1.0 [−1.0, +3.0] points (4 seeds, paired), in place of +2.0 [+1.0, +3.0] points."
    )


def test_a_finding_says_where_nested_selection_says_otherwise():
    plain = Interval(0.02, 0.01, 0.03, 4)
    for found, said in (
        (
            Interval(0.01, -0.01, 0.03, 4),
            "is +1.0 [−1.0, +3.0] points, not told apart from no change.",
        ),
        (
            Interval(-0.02, -0.03, -0.01, 4),
            "is −2.0 [−3.0, −1.0] points, told apart from no change.",
        ),
        (
            Interval(0.01, math.nan, math.nan, 1),
            "[no interval] points, too few seeds for a verdict.",
        ),
        (Interval(0.01, 0.005, 0.02, 4), ""),
    ):
        told = otherwise(Finding("", plain, found))
        assert told.endswith(said)
        assert bool(told) is bool(said)
    assert otherwise(Finding("", plain)) == otherwise(Finding("", plain, NONE)) == ""


def test_shares_of_runs_say_what_they_assume(invented):
    record = invented(ARMS, peak(RATES[1]))
    (said,) = [s for s in told(record) if "Wilson" in s]
    assert said in page_of(record)
    plain = invented(ARMS, peak(RATES[1]), study="something-else")  # the twin: no share is told
    assert not any("Wilson" in sentence for sentence in told(plain))


def test_the_setting_stands_above_the_findings(invented):
    text = page_of(invented(ARMS, peak(RATES[1])))
    assert text.index("What if?") < text.index("*Setting: digits; ") < text.index("## Findings")
    assert text.index("## Findings") < text.index("## Caveats") < text.index("## Every arm")
