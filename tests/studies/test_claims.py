"""A page says what its record bears out, or it is not built."""

import re
from dataclasses import replace

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.pictures.study import draw_study
from sparsefield.studies import Effect, Record, Row, borne_out, page, quantities, study, study_names
from sparsefield.studies.claims import Claim, claims, numbers
from sparsefield.studies.page import with_warning
from sparsefield.studies.quantities import quantity
from sparsefield.studies.record import MEASURES
from sparsefield.sweep import read_grid
from sparsefield.sweep.statistics import NONE, Interval

ARMS = [{"q": q, "lr": lr} for q in (1.0, 4.0) for lr in (1e-3, 1e-2)]
EFFECTS = {
    "q": {"what": "from 1 to 4", "from": {"q": 1.0}, "to": {"q": 4.0}},
    "far": {"from": {"q": 1.0}, "to": {"q": 64.0}},
    "top": {"kind": "mean", "of": {"q": 4.0}},
}


def gained(gain):
    jitter = (0.01, -0.02, 0.0, 0.015)
    return lambda config, seed: {"test_accuracy": 0.5 + jitter[seed] + gain * (config["q"] > 1)}


@pytest.fixture
def told(invented, declared):
    """The page of a text, from a record in which a larger q gains so much."""

    def make(text, gain=0.2, seeds=4):
        return page(declared(EFFECTS, text), invented(ARMS, gained(gain), seeds=seeds), "a.svg")

    return make


def test_numbers_stand_where_the_claim_was(told):
    found = borne_out(told("It rises {rises q}. It is at {value top}."), "planted")
    rises, level = "+20.0 [+20.0, +20.0] points; nested the same", "70.1 [67.7, 72.6] %"
    assert found.text == f"It rises ({rises}). It is at {level}.\n"


@pytest.mark.parametrize(
    ("claim", "gain", "record"),
    [
        ("rises q", -0.2, "falls q"),  # the effect turned round
        ("rises q", 0.0, "open q"),
        ("falls q", 0.2, "rises q"),
        ("open q", 0.2, "rises q"),
        ("rises q, nested open", 0.2, "rises q"),
        ("rises far", 0.2, "missing far"),
        ("open far", 0.2, "missing far"),
        ("value far", 0.2, "missing far"),
        ("value q", 0.2, "rises q"),  # a change has a verdict
        ("rises top", 0.2, "value top"),  # and a level none
    ],
)
def test_a_claim_that_the_record_does_not_bear_out_fails_the_build(told, claim, gain, record):
    found = told(f"So it is {{{claim}}}.", gain)
    with pytest.raises(InvalidInput, match="mend the page") as error:
        borne_out(found, "planted")
    assert f"page planted: effect {claim.split()[1].strip(',')}: " in str(error.value)
    assert f"the page says {claim}, the record {record}: " in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    # a user's own record does not fail for it: it is said above all else
    assert f"> - effect {claim.split()[1].strip(',')}: the page says" in with_warning(found)
    assert with_warning(found).endswith(found.text)


def test_one_seed_bears_nothing_out(told):
    (line,) = told("It rises {rises q}.", seeds=1).unborne
    assert "the record unknown q, nested missing" in line


def test_a_nested_twin_that_says_otherwise_must_be_named(invented, declared):
    """At the larger q one seed alone chooses the rate, at which only it does well."""

    def measure(config, seed):
        lucky = config["q"] > 1 and config["lr"] > 5e-3
        value = 0.5 + 0.04 * (config["q"] > 1) + 0.002 * seed
        return {"test_accuracy": value + (0.3 if seed == 0 else -0.002) * lucky}

    record, both = invented(ARMS, measure, seeds=4), "{open q, nested rises}"
    silent = page(declared(EFFECTS, "So it is {open q}."), record, "a.svg")
    assert "the page says open q, the record open q, nested rises" in silent.unborne[0]
    found = borne_out(page(declared(EFFECTS, f"So it is {both}."), record, "a.svg"), "planted")
    assert "; nested +3.9 [+3.7, +4.0])" in found.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{rises p}", "study planted: has no effect 'p'; there are q, far, top"),
        ("{table p}", "study planted: has no table 'p'"),
        (
            "{shines q}",
            "page planted: {shines q}: is no tag; there are rises, falls, open, value, figure",
        ),
        ("{rises}", "page planted: {rises}: a claim is {rises EFFECT}"),
        ("{rises q, nested better}", "a claim is {rises EFFECT}, or"),
        ("{rises q nested open}", "a claim is {rises EFFECT}, or"),
    ],
)
def test_a_tag_that_is_none_is_one_line(told, text, said):
    with pytest.raises(InvalidInput) as error:
        told(f"So {text}.")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["{Rises q}", "{rises\nq}", "rises q}", "{rises q", "{a, b}", "{rises q} and {}"]
)
def test_a_brace_that_is_no_tag_stops_the_build(told, text):
    """It would stay as text, and what it was meant to check would go unchecked."""
    with pytest.raises(InvalidInput) as error:
        told(f"It rises.\n\nSo {text}.\n")
    assert str(error.value).startswith("page planted: ")
    assert "a brace belongs to a tag on one line" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert "a brace" not in told("So {rises q}, at {value top}.\n").text  # the twin


@pytest.mark.parametrize("name", study_names())
def test_every_effect_that_a_page_names_is_declared_and_every_declared_one_is_told(name):
    found = study(name)
    named = {claim.effect for claim in claims(found.page)}
    assert named <= set(found.effects)
    assert "{effects}" in found.page or named == set(found.effects)
    assert all(found.effects[one].get("what") for one in found.effects)


@pytest.mark.parametrize("name", study_names())
def test_a_page_is_a_screen_with_the_answer_first(name):
    text = study(name).page
    title, answer, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert 1 <= len(answer.splitlines()) <= 3
    assert all(claim.short for claim in claims(answer))
    for tag in ("{setting}", "{figure}", "{command}", "{table}", "{effects}", "{made}"):
        assert text.count(tag) == 1, tag
    assert len(text.split("## Make it again")[0].splitlines()) <= 50


@pytest.mark.parametrize("name", study_names())
def test_no_result_is_typed_by_hand(name):
    """What is said of the papers' own experiment is no record's."""
    found = _typed(study(name).page.partition("## What differs")[0])
    assert not found
    assert _typed("It costs three points of accuracy.") == ["three points"]  # the twins
    assert _typed("It ends with 88 % zeros, and\n96.5 % accuracy.") == [
        "ends with 88 %",
        "96.5 % ac",
    ]


def _typed(prose):
    """Numbers that only a record can know."""
    number = r"(?:\d[\d.]*|ten|\w+ty|one|two|three|four|five|six|seven|eight|nine)"
    known = (
        rf"{number} points",
        rf"{number} times that",
        rf"{number} % ac",
        rf"(?:end|ends|has|have|reach|reaches) (?:with )?(?:about )?{number} %",
    )
    return re.findall("|".join(known), " ".join(prose.split()))


def test_an_opening_says_a_number_in_short_and_its_verdict_is_checked(told):
    text = "It rises by {rises q, in short}, to {value top, in short}."
    assert told(text).text == "It rises by 20 points, to 70 %.\n"
    assert "the page says rises q, the record falls q" in told(text, gain=-0.2).unborne[0]
    assert quantity("test_accuracy").short(Interval(-0.0144, 0, 0, 3), signed=True) == "1.4 points"
    assert quantity("q_end").short(Interval(4.72, 0, 0, 3)) == "4.7"


def test_claims_are_read_in_their_order():
    assert claims("{rises a} and {value b}, {open c, nested falls}") == (
        Claim("rises", "a", "rises"),
        Claim("value", "b", "value"),
        Claim("open", "c", "falls"),
    )


def test_the_nested_twin_stands_beside_every_comparison_and_a_level_that_it_moves():
    found, twin = Interval(0.9, 0.89, 0.91, 5), Interval(0.85, 0.8, 0.9, 5)
    level = Effect("a", "", found, found, quantity("test_accuracy"), False)
    change = replace(level, change=True)
    says, rises = Claim("value", "a", "value"), Claim("rises", "a", "rises")
    shown = "90.0 [89.0, 91.0] %"
    assert numbers(level, says) == shown
    assert numbers(replace(level, nested=twin), says) == f"{shown} (nested 85.0 [80.0, 90.0])"
    assert numbers(replace(level, nested=NONE), says) == f"{shown} (nested none)"
    shown = "+90.0 [+89.0, +91.0] points"
    assert numbers(change, rises) == f"({shown}; nested the same)"
    moved = replace(change, nested=twin)
    assert numbers(moved, rises) == f"({shown}; nested +85.0 [+80.0, +90.0])"


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("scale", ["small", "paper"])
def test_no_page_dies_of_a_record_of_other_runs(name, scale, monkeypatch):
    """A page is written, its claims listed, after runs of any scale and outcome."""
    monkeypatch.setattr(quantities, "predicted", lambda name, config: 0.01 * config["depth"])
    found = study(name)
    if not getattr(found, scale):
        return
    rows = []
    for part, content in found.parts(scale).items():
        for i, run in enumerate(read_grid({**content, "seeds": 2}).runs):
            config = run.config.model_dump(mode="json", exclude={"seed"})
            value = 0.1 + 0.8 * (i * 7919 % 97) / 97
            measures = {**dict.fromkeys(MEASURES, value), "failed": i % 5 == 0, "thresholded": None}
            lost = {**dict.fromkeys(MEASURES), "failed": True}
            rows.append(Row(part, run.config.seed, config, lost if i % 11 == 0 else measures))
    parts = {key: {"digest": "", "fields": [], "config": {}} for key in found.parts(scale)}
    made = {"commits": [], "versions": {}, "hardware": {}, "seconds": 1.0}
    record = Record(name, scale, "", "", "", found.tuned, made, parts, tuple(rows))
    text = with_warning(page(found, record, "a.svg"))
    assert "This one does not bear out" in text
    assert draw_study(found, record).axes


def test_a_difference_of_zeros_says_so(told, invented, declared):
    effects = {"z": {"from": {"q": 1}, "to": {"q": 4}, "measure": "zeros_end"}}

    def measure(config, seed):
        return {"test_accuracy": 0.5, "zeros_end": 0.9 if config["q"] == 4 else 0.8}

    record = invented([{"q": 1.0}, {"q": 4.0}], measure)
    (line, *_) = page(declared(effects, "Zeros rise {rises z}.\n"), record, "").text.splitlines()
    assert "points of zeros; nested the same)" in line
    assert "of zeros" not in told("It rises {rises q}.").text  # the twin
